"""What a prompt says about looks: for every colour of the palette whether it names it, and which it names.

Takes: prompts; the palette of the frame before.  Gives: the palette of each frame.  Knows nothing of: places, noise.

A palette is no matter of time: it is what it was, but for what the prompt names. So it takes no part in the transformer's attention,
and what no prompt names is copied, for as long as a stream lives (docs/decisions/0009).
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from streamdit_gym.model.block import CrossAttention

KNOWN = 0.9  # time from which a frame's palette is looked at; until then its predecessor's tells more


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.cross = CrossAttention(width, heads)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Float[Tensor, "u 1 k d"], text: Float[Tensor, "u l d"], bias: Float[Tensor, "u 1 1 l"]
    ) -> Float[Tensor, "u 1 k d"]:
        x = x + self.cross(self.norm(x), *self.cross.prepare(text), bias)
        return x + self.mlp(x)


class Looks(nn.Module):
    """One query per colour looks for its words in a prompt.

    Args:
        colours: of the palette.
        text_width: width of the prompt encoder's embeddings.
        width: of the queries.
        heads: attention heads.
        depth: layers.
    """

    def __init__(self, colours: int, text_width: int, width: int = 128, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(colours, 3))  # of a frame that follows none
        self.queries = nn.Parameter(torch.randn(colours, width))
        self.text = nn.Linear(text_width, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4))

    def prepare(self, tokens: Float[Tensor, "u l e"], mask: Bool[Tensor, "u l"]) -> Float[Tensor, "1+u k 4"]:
        """Return what no prompt (row 0) and each prompt says of each colour: its three numbers, and whether it is named, above 0 if so."""
        text = self.text(tokens)
        bias = torch.zeros_like(mask, dtype=text.dtype).masked_fill(~mask, float("-inf"))[:, None, None]
        x = self.queries.to(text.dtype).expand(len(tokens), 1, -1, -1)
        for layer in self.layers:
            x = layer(x, text, bias)
        said = self.out(x[:, 0])
        nothing = said.new_tensor([0.0, 0.0, 0.0, float("-inf")]).expand(1, said.shape[1], 4)
        return torch.cat([nothing, said])

    def paint(self, before: Float[Tensor, "*n k 3"], said: Float[Tensor, "*n k 4"]) -> Float[Tensor, "*n k 3"]:
        """Return palettes with the colours that are named; while training all are named a little."""
        named = said[..., 3:].sigmoid() if self.training else (said[..., 3:] > 0).to(said.dtype)
        return torch.lerp(before, said[..., :3].to(before.dtype), named.to(before.dtype))

    def forward(
        self, own: Float[Tensor, "b f l h w"], own_times: Float[Tensor, "b f"], before: Float[Tensor, "b f l h w"],
        before_times: Float[Tensor, "b f"], said: Float[Tensor, "b f k 4"],
    ) -> Float[Tensor, "b f l h w"]:  # fmt: skip
        """Return the palettes of frames that follow each other.

        Args:
            own: the frames' palettes as far as they are known.
            own_times: the frames' times.
            before: likewise, of the frames before them.
            before_times: their times.
            said: what the frames' prompts say, see `prepare`.
        """
        if not own.shape[1]:
            return own
        h, w = own.shape[-2:]
        own, before = (rearrange(part.float(), "b f (k rgb) h w -> b f (h w) k rgb", rgb=3) for part in (own, before))
        painted = torch.lerp(self.first.float().expand_as(own[:, 0]), own[:, 0], own_times[:, 0, None, None, None])
        made = []
        for frame in range(own.shape[1]):
            known = before_times[:, frame, None, None, None] >= KNOWN
            painted = self.paint(torch.where(known, before[:, frame], painted), said[:, frame, None].float())
            made.append(painted)
        return rearrange(torch.stack(made, 1), "b f (h w) k rgb -> b f (k rgb) h w", h=h, w=w)
