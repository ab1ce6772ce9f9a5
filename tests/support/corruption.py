"""A codec whose latents are pixels, so that their corruption can be checked by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from streamdit_gym.model.codec import LatentCodec
from streamdit_gym.train.context_corruption import ContextCorruption


class PixelCodec(LatentCodec):
    """A codec whose latents are an 8 x 8 picture's pixels."""

    frame_size = (8, 8)
    channels = 8
    spatial_channels = 8
    grid = (8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels / self.scale).mean(1, keepdim=True).expand(-1, 8, -1, -1)

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        return (latents[:, :1] * self.scale).expand(-1, 3, -1, -1)


def corruption(**settings: Any) -> ContextCorruption:
    """Return a corruption that does nothing but what the settings say."""
    nothing = {"bend": 0.0, "radius": 0.0, "superimpose": 0.0, "fade": 0.0}
    return ContextCorruption(codec=PixelCodec(), **(nothing | settings))
