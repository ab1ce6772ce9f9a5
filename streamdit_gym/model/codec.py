"""What every codec offers: frames to latents of about unit variance, and back, frame by frame."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from streamdit_gym.errors import ShapeError

HALF_RANGE = 127.5  # of a byte; pixels are in [-1, 1]


class LatentCodec(nn.Module, ABC):
    """A codec that works frame by frame.

    Attributes:
        frame_size: height and width of a frame in pixels.
        channels: channels of a latent.
        grid: rows and columns of a latent.
    """

    frame_size: tuple[int, int]
    channels: int
    grid: tuple[int, int]

    @property
    def spatial_channels(self) -> int:
        """Channels that tell where things are; any others hold the same numbers in every cell."""
        return self.channels

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
        self._check_frames(frames)
        weight = next(self.parameters())
        pixels = rearrange(frames, "b f h w c -> (b f) c h w")
        pixels = pixels.to(weight.device, weight.dtype)
        pixels = pixels / HALF_RANGE - 1
        latents = self.encode_pixels(pixels)
        return rearrange(latents, "(b f) c h w -> b f c h w", b=len(frames))

    def decode(self, latents: Float[Tensor, "b f c h w"]) -> UInt8[Tensor, "b f H W 3"]:
        """Decode latents to uint8 frames."""
        weight = next(self.parameters())
        flat = rearrange(latents, "b f c h w -> (b f) c h w")
        flat = flat.to(weight.dtype)
        pixels = self.decode_latents(flat)
        pixels = pixels.float()
        values = (pixels + 1) * HALF_RANGE
        values = values.round()
        values = values.clamp(0, 255)
        frames = values.to(torch.uint8)
        frames = rearrange(frames, "(b f) c h w -> b f h w c", b=len(latents))
        return frames.contiguous()

    def _check_frames(self, frames: Tensor) -> None:
        height, width = self.frame_size
        shape = (height, width, 3)
        fits = frames.dtype == torch.uint8 and frames.ndim == 5
        if not fits or tuple(frames.shape[2:]) != shape:
            raise ShapeError(
                "frames do not fit the codec",
                given=f"{frames.dtype} {tuple(frames.shape)}",
                allowed=f"torch.uint8 (b, f, {height}, {width}, 3)",
                remedy="resize; RGB, 0 to 255",
            )
