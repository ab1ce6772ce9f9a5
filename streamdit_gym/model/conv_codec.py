"""A small convolutional autoencoder for small worlds.

Takes: pixels.  Gives: latents 8 times smaller in height and width.  Knows nothing of: time,
    prompts, streams.

Full-size convolutions are avoided: pixels are folded 4 x 4 into channels first, so all work happens
on grids a quarter and an eighth of the frame. The latents' scale is kept at one by a batch
normalisation without parameters (a palette's is that of colours), and noise on them while training
makes the decoder forgive the small errors of a rollout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from streamdit_gym.errors import ShapeError
from streamdit_gym.model.codec import LatentCodec


@dataclass(frozen=True, kw_only=True)
class ConvCodecConfig:
    """Size of the codec.

    Attributes:
        size: frame height and width in pixels, a multiple of 8.
        channels: latent channels.
        looks: how many of them, the last ones, are a frame's palette, three to a colour; the same
            in every cell. The others tell where things are, and the decoder makes of them which
            share of each colour a pixel has, and how bright it is: so no colour can be told but in
            the palette, and no place in it. Encoded, each number is a mean over the cells, weighted
            by where the encoder looks for it: a small thing's colour is in one cell alone.
        width: channels on the grid a quarter of the frame; twice that on the grid an eighth.
        blocks: residual blocks on each grid.
        decoder_blocks: likewise in the decoder, if it has fewer; None: as many.
    """

    size: int = 64
    channels: int = 8
    looks: int = 0
    width: int = 64
    blocks: int = 2
    decoder_blocks: int | None = None


class Residual(nn.Module):
    """Two convolutions whose result is added to what they were given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.second(functional.silu(self.first(functional.silu(self.norm(x)))))


class ConvCodec(LatentCodec):
    """The codec of the shipped worlds; see the module's text."""

    def __init__(self, config: ConvCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.size, self.channels, self.grid = config.size, config.channels, config.size // 8
        narrow, wide = config.width, 2 * config.width
        self.looks = config.looks
        if config.looks % 3 or not 0 <= config.looks < config.channels:
            raise ShapeError(
                "no such palette",
                given=f"{config.looks} of {config.channels} channels",
                allowed="a multiple of three, and channels left over",
                remedy="15 for five colours",
            )
        local, drawn = config.channels - config.looks, config.looks // 3 + 1 if config.looks else 3

        def blocks(width: int, count: int) -> list[nn.Module]:
            return [Residual(width) for _ in range(count)]

        most, fewer = (
            config.blocks,
            config.blocks if config.decoder_blocks is None else config.decoder_blocks,
        )
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, narrow, 3, padding=1),
            *blocks(narrow, most),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * narrow, wide, 1),
            *blocks(wide, most),
            nn.GroupNorm(8, wide),
            nn.SiLU(),
            nn.Conv2d(wide, config.channels + config.looks, 1),
        )
        self.normalise = nn.BatchNorm2d(local, affine=False, momentum=0.02)
        self.decoder = nn.Sequential(
            nn.Conv2d(local, wide, 3, padding=1),
            *blocks(wide, fewer),
            nn.Conv2d(wide, 4 * narrow, 1),
            nn.PixelShuffle(2),
            *blocks(narrow, fewer),
            nn.GroupNorm(8, narrow),
            nn.SiLU(),
            nn.Conv2d(narrow, 16 * drawn, 3, padding=1),
            nn.PixelShuffle(4),
        )

    def encode_pixels(self, pixels: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n c h w"]:
        """Return latents of pixels in [-1, 1]."""
        latents = self.encoder(pixels)
        if not self.looks:
            return self.normalise(latents)
        local, looks, where = latents.split(
            [self.channels - self.looks, self.looks, self.looks], dim=1
        )
        mean = (where.flatten(2).softmax(-1) * looks.flatten(2)).sum(-1)[..., None, None]
        return torch.cat([self.normalise(local), mean.expand_as(looks)], dim=1)

    def decode_latents(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 H W"]:
        """Return pixels of latents."""
        if not self.looks:
            return self.decoder(latents)
        local, looks = latents.split([self.channels - self.looks, self.looks], dim=1)
        palette = (
            0.5 + rearrange(looks.mean((2, 3)), "n (k rgb) -> n rgb k", rgb=3) / 3
        )  # of colours in [0, 1]
        drawn = self.decoder(local)
        shares, bright = drawn[:, :-1].softmax(1), 1 + drawn[:, -1:]
        return 2 * bright * torch.einsum("nck,nkhw->nchw", palette, shares) - 1
