"""A small convolutional autoencoder: latents 8 or 16 times smaller in height and width.

Full-size convolutions are avoided: pixels are folded 4 x 4 into channels first, so all work happens
on grids a quarter, an eighth and, in larger frames, a sixteenth of the frame. A batch normalisation
without parameters keeps the scale of the spatial channels at one, the ground included; a
`LatentScale`, where a recipe asks for it, brings what moves to a scale of one. Global channels have
a scale of their own. Noise on the latents while training makes the decoder forgive the small errors
of a rollout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from streamdit_gym.model.codec import LatentCodec
from streamdit_gym.model.optional_modules import global_coder

FOLD = 4  # pixels on a side that are folded into channels
HALVING = 2  # one grid's cells on a side of the next grid's cell
GROUPS = 8  # of every group normalisation
MIN_STD = 1e-2  # of latents: frames that never change are not blown up


@dataclass(frozen=True, kw_only=True)
class ConvCodecConfig:
    """Size of the codec.

    Attributes:
        frame_size: height and width of a frame in pixels, multiples of the stride.
        stride: pixels on a side of a latent cell, 8 or 16.
        channels: latent channels.
        global_channels: how many of them, the last ones, are the same in every cell; see
            `streamdit_gym.model.global_channels`.
        width: channels on the grid a quarter of the frame; twice that on smaller grids.
        blocks: residual blocks on each grid.
        decoder_blocks: residual blocks on each grid of the decoder; None: as many.
        standardised: whether latents are measured from the training frames' mean latent, which is
            what does not change in a picture; see `LatentScale`.
    """

    frame_size: tuple[int, int] = (64, 64)
    stride: int = 8
    channels: int = 8
    global_channels: int = 0
    width: int = 64
    blocks: int = 2
    decoder_blocks: int | None = None
    standardised: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of a latent."""
        height, width = self.frame_size
        return height // self.stride, width // self.stride

    @property
    def num_halvings(self) -> int:
        """How often a grid of folded pixels is halved on the way to a latent."""
        return (self.stride // FOLD).bit_length() - 1


class Residual(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n d h w"]:
        """Return the sum."""
        hidden = self.norm(x)
        hidden = silu(hidden)
        hidden = self.first(hidden)
        hidden = silu(hidden)
        return x + self.second(hidden)


class LatentScale(nn.Module):
    """Standardise latents: mean 0 in every cell of every channel, variance 1 in every channel.

    Args:
        shape: channels, rows and columns of a latent.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, _, _ = shape
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(channels, 1, 1))

    def forward(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return standardised latents."""
        return (latents - self.mean) / self.std

    def inverse(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the latents that were standardised."""
        return latents * self.std + self.mean

    @torch.no_grad()
    def measure(self, latents: Float[Tensor, "n c h w"]) -> None:
        """Take mean and standard deviation of latents that were not standardised."""
        mean = latents.mean(0)
        variance = (latents - mean).square().mean((0, 2, 3))
        std = variance.sqrt().clamp_min(MIN_STD)
        self.mean.copy_(mean)
        self.std.copy_(std[:, None, None])


def _residuals(width: int, count: int) -> list[nn.Module]:
    return [Residual(width) for _ in range(count)]


class ConvCodec(LatentCodec):
    """The codec of the shipped worlds; see the module's text.

    Raises:
        ShapeError: if the global channels do not fit the channels.
    """

    def __init__(self, config: ConvCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.global_coder = global_coder(config.channels, config.global_channels)
        self.frame_size = config.frame_size
        self.channels = config.channels
        self.grid = config.grid
        coder = self.global_coder
        spatial = coder.spatial_channels
        self.encoder = _encoder(config, coder.encoder_channels)
        self.normalise = nn.BatchNorm2d(spatial, affine=False, momentum=0.02)
        self.decoder = _decoder(config, spatial, coder.decoder_channels)
        self.scale = LatentScale((spatial, *config.grid)) if config.standardised else None

    @property
    def spatial_channels(self) -> int:
        """Channels that tell where things are."""
        return self.global_coder.spatial_channels

    def encode_pixels(self, pixels: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n c h w"]:
        """Return latents of pixels in [-1, 1]."""
        features = self.encoder(pixels)
        spatial, others = self.global_coder.encode(features)
        spatial = self.normalise(spatial)
        if self.scale is not None:
            spatial = self.scale(spatial)
        return torch.cat([spatial, others], dim=1)

    def decode_latents(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 H W"]:
        """Return pixels of latents."""
        spatial = latents[:, : self.spatial_channels]
        if self.scale is not None:
            spatial = self.scale.inverse(spatial)
        drawn = self.decoder(spatial)
        return self.global_coder.decode(drawn, latents)


def _encoder(config: ConvCodecConfig, channels: int) -> nn.Sequential:
    """Return the network from pixels to latents."""
    width = config.width
    layers: list[nn.Module] = [
        nn.PixelUnshuffle(FOLD),
        nn.Conv2d(3 * FOLD**2, width, 3, padding=1),
        *_residuals(width, config.blocks),
    ]
    wide = 2 * config.width
    for _ in range(config.num_halvings):
        layers += [
            nn.PixelUnshuffle(HALVING),
            nn.Conv2d(HALVING**2 * width, wide, 1),
            *_residuals(wide, config.blocks),
        ]
        width = wide
    return nn.Sequential(
        *layers,
        nn.GroupNorm(GROUPS, wide),
        nn.SiLU(),
        nn.Conv2d(wide, channels, 1),
    )


def _decoder(config: ConvCodecConfig, latent_channels: int, channels: int) -> nn.Sequential:
    """Return the network from latents to pixels."""
    narrow = config.width
    wide = 2 * config.width
    widths = [wide] * (config.num_halvings - 1) + [narrow]  # of every larger grid
    blocks = config.blocks if config.decoder_blocks is None else config.decoder_blocks
    layers: list[nn.Module] = [
        nn.Conv2d(latent_channels, wide, 3, padding=1),
        *_residuals(wide, blocks),
    ]
    for width in widths:
        layers += [
            nn.Conv2d(wide, HALVING**2 * width, 1),
            nn.PixelShuffle(HALVING),
            *_residuals(width, blocks),
        ]
    return nn.Sequential(
        *layers,
        nn.GroupNorm(GROUPS, narrow),
        nn.SiLU(),
        nn.Conv2d(narrow, FOLD**2 * channels, 3, padding=1),
        nn.PixelShuffle(FOLD),
    )
