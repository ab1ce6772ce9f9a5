"""One adaLN block: window attention, cross-attention to the prompt, MLP.

Takes: tokens, each frame's condition, prompts.  Gives: tokens, and keys and values for a cache.
Knows nothing of: noise, streams.

Scale, shift and gate come from each frame's own condition (its noise level and its prompt) and are applied along the
frame axis.  Source: StreamDiT (arXiv 2507.03745), section 3.3; adaLN-zero after DiT (arXiv 2212.09748).
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from streamdit_gym.model.window_attention import Pair, WindowAttention
from streamdit_gym.vocabulary import Conditioning


class CrossAttention(nn.Module):
    """Attention of a frame's tokens to the tokens of the prompt it was born with."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Float[Tensor, "b f n d"], prompts: Conditioning) -> Float[Tensor, "b f n d"]:
        """Attend; `prompts.tokens` are already of the model's width and row 0 stands for no prompt."""
        b = x.shape[0]
        index = prompts.index.flatten()
        q = rearrange(self.query(x), "b f n (g d) -> (b f) g n d", g=self.heads)
        # keys and values are made once per distinct prompt, then handed to its frames
        table = rearrange(self.key_value(prompts.tokens), "u l (two g d) -> two u g l d", two=2, g=self.heads)
        k, v = table[0][index], table[1][index]
        # written out: for a handful of keys the fused kernel's backward is ten times slower on a CPU
        bias = torch.zeros_like(prompts.mask, dtype=q.dtype).masked_fill(~prompts.mask, float("-inf"))
        y = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias[index][:, None, None]).softmax(-1).to(v.dtype) @ v
        return self.out(rearrange(y, "(b f) g n d -> b f n (g d)", b=b))


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, x, 1 + scale)


class Block(nn.Module):
    """One block; see the module's text.

    Args:
        width: token width.
        heads: attention heads.
        rows: token rows of a frame.
        window: window of the self-attention.
        shifted: whether it is shifted.
    """

    def __init__(self, width: int, heads: int, rows: int, window: tuple[int, int, int], shifted: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = WindowAttention(width, heads, rows, window, shifted)
        self.cross_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.cross = CrossAttention(width, heads)
        self.mlp_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x: Float[Tensor, "b f n d"], condition: Float[Tensor, "b f d"], prompts: Conditioning,
        rotations: Pair, mask: Tensor | None, cached: Pair | None, cached_rotations: Pair | None,
    ) -> tuple[Float[Tensor, "b f n d"], Pair]:  # fmt: skip
        """Return the tokens after the block and its keys and values."""
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(condition)[:, :, None].chunk(6, dim=-1)
        y, pair = self.attention(_modulate(self.attention_norm(x), shift, scale), rotations, mask, cached, cached_rotations)
        x = torch.addcmul(x, gate, y)
        x = x + self.cross(self.cross_norm(x), prompts)
        x = torch.addcmul(x, gate2, self.narrow(self.widen(_modulate(self.mlp_norm(x), shift2, scale2)).relu().square()))
        return x, pair
