"""One adaLN block: window attention, cross-attention to the prompt, MLP.

Scale, shift and gate come from each frame's own condition (its noise level and its prompt) and are
applied along the frame axis.  Source: StreamDiT (arXiv 2507.03745), section 3.3; adaLN-zero after
DiT (arXiv 2212.09748).
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from streamdit_gym.model.initial_values import zeroed
from streamdit_gym.model.key_value_cache import Pair
from streamdit_gym.model.window_attention import WindowAttention


def padding_bias(mask: Bool[Tensor, "u l"], dtype: torch.dtype) -> Float[Tensor, "u 1 1 l"]:
    """Return the attention bias of padded prompts: 0 for a real token, else minus infinity."""
    no_bias = torch.zeros_like(mask, dtype=dtype)
    bias = no_bias.masked_fill(~mask, float("-inf"))
    return bias[:, None, None]


class CrossAttention(nn.Module):
    """Attention of a frame's tokens to the tokens of the prompt it is conditioned on."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        out = nn.Linear(width, width, bias=False)
        self.out = zeroed(out)

    def prepare(self, tokens: Float[Tensor, "u l d"]) -> Float[Tensor, "2 u g l e"]:
        """Return keys and values of a prompt table."""
        pairs = self.key_value(tokens)
        return rearrange(pairs, "u l (two g d) -> two u g l d", two=2, g=self.heads)

    def forward(
        self,
        x: Float[Tensor, "b f n d"],
        keys: Float[Tensor, "b*f g l e"],
        values: Float[Tensor, "b*f g l e"],
        bias: Float[Tensor, "b*f 1 1 l"],
    ) -> Float[Tensor, "b f n d"]:
        """Attend; keys, values and the bias of padding are those of each frame's own prompt."""
        q = self.query(x)
        q = rearrange(q, "b f n (g d) -> (b f) g n d", g=self.heads)
        # Written out for training: with a handful of keys, the fused kernel's backward is ten
        # times slower on a CPU.
        if q.requires_grad:
            head_width = q.shape[-1]
            q = q * head_width**-0.5
            scores = q @ keys.mT + bias
            weights = scores.softmax(-1)
            y = weights.to(values.dtype) @ values
        else:
            bias = bias.to(q.dtype)
            y = scaled_dot_product_attention(q, keys, values, attn_mask=bias)
        y = rearrange(y, "(b f) g n d -> b f n (g d)", b=len(x))
        return self.out(y)


def _modulate(
    x: Float[Tensor, "b f n d"], shift: Float[Tensor, "b f 1 d"], scale: Float[Tensor, "b f 1 d"]
) -> Float[Tensor, "b f n d"]:
    return torch.addcmul(shift, x, 1 + scale)


def _plain_norm(width: int) -> nn.LayerNorm:
    """Return a layer norm whose scale and shift come from the condition instead."""
    return nn.LayerNorm(width, elementwise_affine=False)


class Block(nn.Module):
    """One block; see the module's text.

    Args:
        width: token width.
        heads: attention heads.
        token_grid: token rows and columns of a frame.
        window: window of the self-attention.
        shifted: whether it is shifted.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        token_grid: tuple[int, int],
        window: tuple[int, int, int],
        shifted: bool,
    ) -> None:
        super().__init__()
        mlp_width = 4 * width
        self.attention_norm = _plain_norm(width)
        self.attention = WindowAttention(width, heads, token_grid, window, shifted)
        self.cross_norm = _plain_norm(width)
        self.cross = CrossAttention(width, heads)
        self.mlp_norm = _plain_norm(width)
        self.mlp_in = nn.Linear(width, mlp_width)
        self.mlp_out = nn.Linear(mlp_width, width)
        # shift, scale and gate of the attention, then of the MLP
        modulation = nn.Linear(width, 6 * width)
        self.modulation = zeroed(modulation)

    def forward(
        self,
        x: Float[Tensor, "b f n d"],
        condition: Float[Tensor, "b f d"],
        prompt: tuple[Tensor, Tensor, Tensor],
        rotations: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cached: Pair | None,
        context: int = 0,
    ) -> tuple[Float[Tensor, "b k n d"], Pair]:
        """Return the tokens of the frames behind the context, and keys and values of all frames.

        Args:
            x: tokens.
            condition: noise level and prompt of every frame.
            prompt: keys, values and bias of the prompt of every frame behind the context.
            rotations: see `WindowAttention`.
            mask: see `WindowAttention`.
            cached: keys and values of earlier frames; they come first in what is returned.
            context: how many of the first frames are attended to only.
        """
        modulation = self.modulation(condition)  # b f 6d
        modulation = modulation[:, :, None]
        shift, scale, gate, *mlp_modulation = modulation.chunk(6, dim=-1)  # each b f 1 d
        hidden = self.attention_norm(x)
        hidden = _modulate(hidden, shift, scale)
        attended, pair = self.attention(
            hidden,
            rotations,
            mask,
            cached,
            context,
        )
        # from here on without the context: b k n d
        x = x[:, context:]
        gate = gate[:, context:]
        x = torch.addcmul(x, gate, attended)
        hidden = self.cross_norm(x)
        x = x + self.cross(hidden, *prompt)
        shift, scale, gate = (part[:, context:] for part in mlp_modulation)
        hidden = self.mlp_norm(x)
        hidden = _modulate(hidden, shift, scale)
        hidden = self.mlp_in(hidden)
        hidden = hidden.relu_()
        hidden = _squared(hidden)
        hidden = self.mlp_out(hidden)
        return torch.addcmul(x, gate, hidden), pair


def _squared(x: Tensor) -> Tensor:
    """Square, in place where no gradient is wanted: fresh memory costs more than the squares."""
    if x.requires_grad:
        return x.square()
    return x.square_()
