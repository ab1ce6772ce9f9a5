"""One adaLN block: window attention, cross-attention to the prompt, MLP.

Takes: tokens, each frame's condition, prompts.  Gives: tokens, and keys and values for a cache.
Knows nothing of: noise, streams.

Scale, shift and gate come from each frame's own condition (its noise level and its prompt) and are
applied along the frame axis.  Source: StreamDiT (arXiv 2507.03745), section 3.3; adaLN-zero after
DiT (arXiv 2212.09748).
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from streamdit_gym.model.key_value_cache import Pair
from streamdit_gym.model.window_attention import WindowAttention


class CrossAttention(nn.Module):
    """Attention of a frame's tokens to the tokens of the prompt it was born with."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def prepare(self, tokens: Float[Tensor, "u l d"]) -> Float[Tensor, "2 u g l e"]:
        """Return keys and values of a prompt table."""
        return rearrange(
            self.key_value(tokens), "u l (two g d) -> two u g l d", two=2, g=self.heads
        )

    def forward(
        self, x: Float[Tensor, "b f n d"], keys: Tensor, values: Tensor, bias: Tensor
    ) -> Float[Tensor, "b f n d"]:
        """Attend; keys, values and the bias of padding are already those of each frame's prompt,
        (b f) g l d.
        """
        q = rearrange(self.query(x), "b f n (g d) -> (b f) g n d", g=self.heads)
        # written out: for a handful of keys the fused kernel's backward is ten times slower on a
        # CPU
        if q.requires_grad:
            y = ((q * q.shape[-1] ** -0.5) @ keys.mT + bias).softmax(-1).to(values.dtype) @ values
        else:
            y = functional.scaled_dot_product_attention(q, keys, values, attn_mask=bias.to(q.dtype))
        return self.out(rearrange(y, "(b f) g n d -> b f n (g d)", b=x.shape[0]))


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

    def __init__(
        self, width: int, heads: int, rows: int, window: tuple[int, int, int], shifted: bool
    ) -> None:
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
        self,
        x: Float[Tensor, "b f n d"],
        condition: Float[Tensor, "b f d"],
        prompt: tuple[Tensor, Tensor, Tensor],
        rotations: Pair,
        mask: Tensor | None,
        cached: Pair | None,
        context: int = 0,
    ) -> tuple[Float[Tensor, "b k n d"], Pair]:
        """Return the tokens after the block, of the frames behind the context, and the keys and
        values of all frames, cached ones first.

        `prompt` is (keys, values, bias) of every frame behind the context.
        """
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(condition)[:, :, None].chunk(
            6, dim=-1
        )
        y, pair = self.attention(
            _modulate(self.attention_norm(x), shift, scale), rotations, mask, cached, context
        )
        x, gate, shift2, scale2, gate2 = (
            part[:, context:] for part in (x, gate, shift2, scale2, gate2)
        )
        x = torch.addcmul(x, gate, y)
        x = x + self.cross(self.cross_norm(x), *prompt)
        hidden = self.widen(_modulate(self.mlp_norm(x), shift2, scale2)).relu_()
        hidden = (
            hidden.square() if hidden.requires_grad else hidden.square_()
        )  # in place: fresh memory costs more than the squares
        return torch.addcmul(x, gate2, self.narrow(hidden)), pair
