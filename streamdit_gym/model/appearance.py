"""What a prompt says about looks: for every colour of the palette whether it names it, and which it
names.

Takes: prompts; the palette of the frame before.  Gives: the palette of each frame.  Knows nothing
    of: places, noise.

A palette is no matter of time: it is what it was, but for what the prompt names. So it takes no
part in the transformer's attention, and what no prompt names is copied, for as long as a stream
lives (docs/decisions/0009).
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from streamdit_gym.model.block import CrossAttention
from streamdit_gym.model.embedding import embedding


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.cross = CrossAttention(width, heads)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width)
        )

    def forward(
        self,
        x: Float[Tensor, "u 1 k d"],
        text: Float[Tensor, "u l d"],
        bias: Float[Tensor, "u 1 1 l"],
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

    def __init__(
        self, colours: int, text_width: int, width: int = 128, heads: int = 4, depth: int = 2
    ) -> None:
        super().__init__()
        self.queries = embedding(colours, width, std=1.0)
        self.text = nn.Linear(text_width, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4))

    def prepare(
        self, tokens: Float[Tensor, "u l e"], mask: Bool[Tensor, "u l"]
    ) -> Float[Tensor, "1+u k 4"]:
        """Return what no prompt (row 0) and each prompt says of each colour: its three numbers,
        and whether it is named, above 0 if so.
        """
        text = self.text(tokens)
        bias = torch.zeros_like(mask, dtype=text.dtype).masked_fill(~mask, float("-inf"))[
            :, None, None
        ]
        x = self.queries.to(text.dtype).expand(len(tokens), 1, -1, -1)
        for layer in self.layers:
            x = layer(x, text, bias)
        said = self.out(x[:, 0])
        nothing = said.new_tensor([0.0, 0.0, 0.0, float("-inf")]).expand(1, said.shape[1], 4)
        return torch.cat([nothing, said])

    def paint(
        self, before: Float[Tensor, "*n k 3"], said: Float[Tensor, "*n k 4"]
    ) -> Float[Tensor, "*n k 3"]:
        """Return palettes with the colours that are named."""
        return torch.where(said[..., 3:] > 0, said[..., :3].to(before.dtype), before)

    def forward(
        self,
        times: Float[Tensor, "b f"],
        before: Float[Tensor, "b f l h w"],
        before_times: Float[Tensor, "b f"],
        said: Float[Tensor, "b f k 4"],
    ) -> Float[Tensor, "b f l h w"]:
        """Return the palettes of frames that follow each other.

        The frame before the first is a reference, and its palette known. Every other's is either a
        reference, too, or the frame that stands before it here, at the same time, and not yet
        drawn: then it is what has just been painted.

        Args:
            times: the frames' times.
            before: palettes of the frames before them.
            before_times: their times.
            said: what the frames' prompts say, see `prepare`.
        """
        if not before.shape[1]:
            return before
        h, w = before.shape[-2:]
        before = rearrange(before.float(), "b f (k rgb) h w -> b f (h w) k rgb", rgb=3)
        painted, made = before[:, 0], []
        for frame in range(before.shape[1]):
            if frame:
                drawn = (before_times[:, frame] == times[:, frame - 1])[:, None, None, None]
                painted = torch.where(drawn, painted, before[:, frame])
            painted = self.paint(painted, said[:, frame, None].float())
            made.append(painted)
        return rearrange(torch.stack(made, 1), "b f (h w) k rgb -> b f (k rgb) h w", h=h, w=w)
