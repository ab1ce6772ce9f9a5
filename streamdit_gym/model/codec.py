"""What every codec offers.

Takes: frames or latents.  Gives: latents of about unit variance, or frames.  Knows nothing of:
    time, prompts, streams.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from streamdit_gym.errors import ShapeError


class LatentCodec(nn.Module, ABC):
    """A codec that works frame by frame.

    Attributes:
        size: height and width of a frame in pixels.
        channels: channels of a latent.
        grid: height and width of a latent.
        looks: how many of the channels, the last ones, tell what frames look like and not where
            things are; the same in every cell.
    """

    size: int
    channels: int
    grid: int
    looks: int = 0

    @abstractmethod
    def encode_pixels(self, pixels: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n c h w"]:
        """Return latents of pixels in [-1, 1]."""

    @abstractmethod
    def decode_latents(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 H W"]:
        """Return pixels, about in [-1, 1], of latents."""

    def encode(self, frames: UInt8[Tensor, "b f H W 3"]) -> Float[Tensor, "b f c h w"]:
        """Encode uint8 frames.

        Raises:
            ShapeError: if the frames are not uint8 of the codec's size.
        """
        if (
            frames.dtype != torch.uint8
            or frames.ndim != 5
            or tuple(frames.shape[2:]) != (self.size, self.size, 3)
        ):
            raise ShapeError(
                "frames do not fit the codec",
                given=f"{frames.dtype} {tuple(frames.shape)}",
                allowed=f"torch.uint8 (b, f, {self.size}, {self.size}, 3)",
                remedy="resize; RGB, 0 to 255",
            )
        b = frames.shape[0]
        weight = next(self.parameters())
        pixels = (
            rearrange(frames, "b f h w c -> (b f) c h w").to(weight.device, weight.dtype) / 127.5
            - 1
        )
        return rearrange(self.encode_pixels(pixels), "(b f) c h w -> b f c h w", b=b)

    def decode(self, latents: Float[Tensor, "b f c h w"]) -> UInt8[Tensor, "b f H W 3"]:
        """Decode latents to uint8 frames."""
        b = latents.shape[0]
        pixels = self.decode_latents(
            rearrange(latents, "b f c h w -> (b f) c h w").to(next(self.parameters()).dtype)
        )
        frames = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return rearrange(frames, "(b f) c h w -> b f h w c", b=b).contiguous()
