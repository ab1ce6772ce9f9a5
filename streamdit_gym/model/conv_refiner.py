"""A small convolutional head that refines what the tokens predict.

A token of a small world covers 16 x 16 pixels; edges inside it look the same wherever they are,
which convolutions on the latent grid know from the start and a linear layer per token has to learn
for every place (docs/decisions/0002).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from streamdit_gym.model.initial_values import zeroed


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside a skip; the second begins at zero."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, inner, 3, padding=1)
        second = nn.Conv2d(inner, inner, 3, padding=1)
        self.second = zeroed(second)

    def forward(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n d h w"]:
        hidden = silu(x)
        hidden = self.first(hidden)
        hidden = silu(hidden)
        return x + self.second(hidden)


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
        token_channels = width // patch**2
        prediction_channels = channels + 1  # the change, and its gate
        latent_channels = 2 * channels  # of the frame, and of the one before it
        inputs = token_channels + prediction_channels + latent_channels
        residuals = [_Residual(inner) for _ in range(blocks)]
        self.first = nn.Conv2d(inputs, inner, 3, padding=1)
        self.blocks = nn.Sequential(*residuals)
        out = nn.Conv2d(inner, prediction_channels, 3, padding=1)
        self.out = zeroed(out)

    def forward(
        self,
        tokens: Float[Tensor, "b f n d"],
        prediction: Float[Tensor, "b f o h w"],
        own: Float[Tensor, "b f c h w"],
        before: Float[Tensor, "b f c h w"],
    ) -> Float[Tensor, "b f o h w"]:
        """Return a correction of the prediction: the change's channels, then the gate's logit."""
        patch = self.patch
        rows = prediction.shape[-2] // patch
        features = rearrange(
            tokens,
            "b f (h w) (p q d) -> (b f) d (h p) (w q)",
            h=rows,
            p=patch,
            q=patch,
        )
        inputs = [features]
        for part in (prediction, own, before):
            part = part.flatten(0, 1)
            inputs.append(part.to(features.dtype))
        x = torch.cat(inputs, dim=1)
        with _convolution_precision(x.device):
            if x.device.type == "cpu":
                x = x.to(self.first.weight.dtype)
            x = x.contiguous(memory_format=torch.channels_last)
            x = self.first(x)
            x = self.blocks(x)
            x = silu(x)
            x = self.out(x)
        return rearrange(x, "(b f) o h w -> b f o h w", b=len(tokens))


def _convolution_precision(device: torch.device) -> AbstractContextManager[None]:
    """Leave autocast on a CPU, where bfloat16 convolutions of many small grids are 50 x slower."""
    if device.type == "cpu":
        return torch.autocast("cpu", enabled=False)
    return nullcontext()
