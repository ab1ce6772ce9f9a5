"""A small convolutional head that finishes what the tokens have drawn.

Takes: token features, the predicted change and the latents beside it.  Gives: a correction of the
    change and of its gate.
Knows nothing of: noise levels, prompts (the tokens know them).

A token of a small world covers 16 x 16 pixels; edges inside it look the same wherever they are,
which convolutions on the latent grid know from the start and a linear layer per token has to learn
for every place (docs/decisions/0002).
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside a skip; the second begins at zero."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, inner, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.silu(self.first(functional.silu(x))))


class ConvRefiner(nn.Module):
    """Residual blocks of convolutions on the latent grid; the last layer begins at zero.

    Args:
        width: token width.
        channels: latent channels.
        patch: latents per token side.
        inner: channels of the convolutions.
        blocks: residual blocks.
    """

    def __init__(self, width: int, channels: int, patch: int, inner: int, blocks: int) -> None:
        super().__init__()
        self.patch = patch
        self.first = nn.Conv2d(3 * channels + 1 + width // patch**2, inner, 3, padding=1)
        self.blocks = nn.Sequential(*(_Residual(inner) for _ in range(blocks)))
        self.out = nn.Conv2d(inner, channels + 1, 3, padding=1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        tokens: Float[Tensor, "b f n d"],
        drawn: Float[Tensor, "b f o h w"],
        own: Tensor,
        before: Tensor,
    ) -> Float[Tensor, "b f o h w"]:
        """Return a correction of `drawn`: the change's channels, then the gate's logit."""
        b, rows = tokens.shape[0], drawn.shape[-1] // self.patch
        features = rearrange(
            tokens, "b f (h w) (p q d) -> (b f) d (h p) (w q)", h=rows, p=self.patch, q=self.patch
        )
        x = torch.cat(
            [features, *(part.flatten(0, 1).to(features.dtype) for part in (drawn, own, before))],
            dim=1,
        )
        # on a CPU, bfloat16 convolutions of many small grids are fifty times slower than these
        with (
            torch.autocast(x.device.type, enabled=False)
            if x.device.type == "cpu"
            else nullcontext()
        ):
            x = x.to(self.first.weight.dtype) if x.device.type == "cpu" else x
            x = self.blocks(self.first(x.contiguous(memory_format=torch.channels_last)))
            x = self.out(functional.silu(x))
        return rearrange(x, "(b f) o h w -> b f o h w", b=b)
