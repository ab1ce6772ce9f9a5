"""Wan's autoencoder frame by frame: what its convolutions remember belongs to the stream.

The first latent of a stream becomes one frame, every later one four. Decoding latent by latent is
decoding them all at once, to the bit, if the memory goes along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from streamdit_gym.errors import ShapeError

HALF_RANGE = 127.5  # of a byte; pixels are in [-1, 1]
FRAMES_PER_LATENT = 4  # of all latents but the first


@dataclass(frozen=True, kw_only=True)
class DecoderMemory:
    """What the decoder's convolutions remember of the streams' latest latents.

    Attributes:
        features: of every convolution, with a row for each stream; None, or a mark of diffusers,
            where it remembers nothing yet.
    """

    features: tuple[Tensor | str | None, ...]

    @property
    def has_started(self) -> bool:
        """Whether the streams' first latents are decoded."""
        return any(isinstance(part, Tensor) for part in self.features)

    def with_rows(self, rows: Sequence[int], other: DecoderMemory) -> DecoderMemory:
        """Return the memory with some streams' part replaced by another one's streams."""
        features = []
        for own, new in zip(self.features, other.features, strict=True):
            if isinstance(own, Tensor) and isinstance(new, Tensor):
                index = torch.as_tensor(list(rows), device=own.device)
                own = own.index_copy(0, index, new)
            features.append(own)
        return DecoderMemory(features=tuple(features))

    def to(self, device: torch.device | str) -> DecoderMemory:
        """Return the memory on a device."""
        features = tuple(
            part.to(device) if isinstance(part, Tensor) else part for part in self.features
        )
        return DecoderMemory(features=features)

    def take(self, rows: Sequence[int]) -> DecoderMemory:
        """Return a copy of the memory of some streams."""
        index = list(rows)
        features = tuple(
            part[index] if isinstance(part, Tensor) else part for part in self.features
        )
        return DecoderMemory(features=features)


class WanCodec:
    """Wan's autoencoder for streams.

    Args:
        autoencoder: `AutoencoderKLWan`.
    """

    def __init__(self, autoencoder: nn.Module) -> None:
        self.autoencoder: Any = autoencoder
        config: Any = self.autoencoder.config
        self.mean = torch.tensor(config.latents_mean)[:, None, None]
        self.deviation = torch.tensor(config.latents_std)[:, None, None]

    @property
    def stride(self) -> int:
        """Pixels of a latent's side."""
        return int(self.autoencoder.spatial_compression_ratio)

    def new_memory(self) -> DecoderMemory:
        """Return the memory of streams of which nothing is decoded yet."""
        self.autoencoder.clear_cache()
        return DecoderMemory(features=tuple(self.autoencoder._feat_map))

    @torch.no_grad()
    def encode(self, frames: UInt8[Tensor, "b f H W 3"]) -> Float[Tensor, "b n c h w"]:
        """Return the latents of clips that begin streams: one of the first frame, one of each four.

        Raises:
            ShapeError: if the frames are no uint8, not 1 + 4 n, or no whole latents wide and high.
        """
        self._check_frames(frames)
        weight = next(self.autoencoder.parameters())
        pixels = rearrange(frames, "b f h w c -> b c f h w").to(weight.device)
        pixels = pixels.to(weight.dtype) / HALF_RANGE - 1
        latents = self.autoencoder.encode(pixels).latent_dist.mode()
        latents = latents.transpose(1, 2).float()
        return (latents - self.mean.to(latents)) / self.deviation.to(latents)

    @torch.no_grad()
    def decode(
        self, latents: Float[Tensor, "b n c h w"], memory: DecoderMemory
    ) -> tuple[UInt8[Tensor, "b f H W 3"], DecoderMemory]:
        """Return the frames of the streams' next latents, and the memory behind them.

        Args:
            latents: of every stream, as many.
            memory: of what is decoded so far; it does not change.
        """
        weight = next(self.autoencoder.parameters())
        scaled = latents * self.deviation.to(latents) + self.mean.to(latents)
        scaled = scaled.transpose(1, 2).to(weight.dtype)
        hidden = self.autoencoder.post_quant_conv(scaled)
        features = list(memory.features)
        pixels = []
        for number in range(hidden.shape[2]):
            is_first = number == 0 and not memory.has_started
            latent = hidden[:, :, number : number + 1]
            part = self.autoencoder.decoder(
                latent, feat_cache=features, feat_idx=[0], first_chunk=is_first
            )
            pixels.append(part)
        frames = _bytes(torch.cat(pixels, 2).clamp(-1, 1))
        return frames, DecoderMemory(features=tuple(features))

    def _check_frames(self, frames: Tensor) -> None:
        stride = self.stride
        fits = frames.dtype == torch.uint8 and frames.ndim == 5 and frames.shape[-1] == 3
        whole = fits and (frames.shape[1] - 1) % FRAMES_PER_LATENT == 0
        if not whole or frames.shape[2] % stride or frames.shape[3] % stride:
            raise ShapeError(
                "frames do not fit Wan's autoencoder",
                given=f"{frames.dtype} {tuple(frames.shape)}",
                allowed=f"torch.uint8 (b, 1 + 4 n, H, W, 3), H and W multiples of {stride}",
                remedy="cut the clip, resize its frames; RGB, 0 to 255",
            )


def _bytes(pixels: Float[Tensor, "b c f H W"]) -> UInt8[Tensor, "b f H W c"]:
    values = ((pixels.float() + 1) * HALF_RANGE).round()
    return rearrange(values.to(torch.uint8), "b c f h w -> b f h w c").contiguous()
