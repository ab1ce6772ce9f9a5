"""Corruption of reference frames, for the transformer to repair.

A stream's errors stay in it: what is copied from frame to frame stays deformed once it is. A
model's own rollouts show it such frames only until they leave the recorded future, which is soon.
For frames that are deformed on purpose, the truth is known.

All frames of a clip are corrupted in the same way, as in a stream that nothing repairs. Every
transform takes and returns pixels in [-1, 1] of shape (clips, frames, channels, height, width).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from streamdit_gym.model.codec import LatentCodec
from streamdit_gym.train.losses import background_colour
from streamdit_gym.train.region_warps import (
    Region,
    displaced_from_elsewhere,
    pick_region,
    rotated,
    saliency,
    slid_over_edge,
    squeezed,
    stretched_by_direction,
)

Clips = Float[Tensor, "b f c h w"]
ELSEWHERE, ROTATE, STRETCH, SLIDE, SQUEEZE = range(5)


class Transform(Protocol):
    """A corruption of clips."""

    def __call__(self, clips: Clips) -> Clips:
        """Return corrupted clips."""


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Bend the frame smoothly and displace one region of it.

    The region's content comes from elsewhere, or is rotated, stretched by direction, slid towards a
    near edge and maybe over it, or squeezed.

    Attributes:
        bend: largest standard deviation of the smooth displacement, in pixels.
        knots: how many random displacements across a frame the smooth one goes through.
        radius: largest radius of the region, in pixels; twice as large where it is rotated, and
            always twice as large where it is stretched, slid or squeezed.
        stretch: standard deviation of the turn by direction, in radians, and of the stretch, as a
            logarithm.
        squeeze: how many times smaller things are squeezed at most.
    """

    bend: float
    knots: int
    radius: float
    stretch: tuple[float, float]
    squeeze: float

    def __call__(self, clips: Clips) -> Clips:
        """Return warped clips."""
        displacement = self._smooth_displacement(clips) + self._region_displacement(clips)
        return _sampled(clips, displacement)

    def _smooth_displacement(self, clips: Clips) -> Float[Tensor, "b 2 h w"]:
        device = clips.device
        count = len(clips)
        strength = self.bend * torch.rand(count, 1, 1, 1, device=device)
        knots = torch.randn(count, 2, self.knots, self.knots, device=device)
        smooth = functional.interpolate(
            knots,
            size=clips.shape[-2:],
            mode="bicubic",
            align_corners=True,
        )
        return strength * smooth

    def _region_displacement(self, clips: Clips) -> Float[Tensor, "b 2 h w"]:
        kind = torch.randint(5, (len(clips), 1, 1), device=clips.device)
        region = pick_region(clips, self._region_radius(kind))
        # every kind takes its random numbers for all clips, in this order
        by_kind = {
            STRETCH: stretched_by_direction(region, *self.stretch),
            ROTATE: rotated(region),
            SQUEEZE: squeezed(region, self.squeeze),
            ELSEWHERE: displaced_from_elsewhere(region),
            SLIDE: slid_over_edge(region, 2 * self.radius),
        }
        displacement = by_kind.pop(ELSEWHERE)
        for name, other in by_kind.items():
            displacement = torch.where((kind == name)[:, None], other, displacement)
        return region.inside[:, None] * displacement

    def _region_radius(self, kind: Tensor) -> Float[Tensor, "b 1 1"]:
        share = torch.rand(kind.shape, device=kind.device)
        small = self.radius * share
        small = torch.where(kind == ROTATE, 2 * small, small)
        large = 2 * self.radius
        large_kinds = torch.tensor([STRETCH, SLIDE, SQUEEZE], device=kind.device)
        return torch.where(torch.isin(kind, large_kinds), large, small)


@dataclass(frozen=True, kw_only=True)
class Superimpose:
    """Warp clips twice, and in some show both: their mean, or the foreground of either.

    Attributes:
        warp: the transform whose results are superimposed.
        probability: of showing both.
    """

    warp: Transform
    probability: float

    def __call__(self, clips: Clips) -> Clips:
        """Return clips, some of them superimposed."""
        first = self.warp(clips)
        second = self.warp(clips)
        mean = (first + second) / 2
        first_stands_out = saliency(first) > saliency(second)
        either = torch.where(first_stands_out, first, second)
        chance = torch.rand(len(clips), 1, 1, 1, 1, device=clips.device)
        shows_both = chance < self.probability
        shows_mean = chance < self.probability / 2
        result = torch.where(shows_both, either, first)
        return torch.where(shows_mean, mean, result)


@dataclass(frozen=True, kw_only=True)
class Fade:
    """Let a region of some clips fade towards the background.

    Attributes:
        probability: of fading.
        radius: largest radius of the region, in pixels.
    """

    probability: float
    radius: float

    def region(self, clips: Clips) -> Region:
        """Return where clips fade."""
        radius = self.radius * torch.rand(len(clips), 1, 1, device=clips.device)
        return pick_region(clips, radius)

    def __call__(self, clips: Clips, region: Region) -> Clips:
        """Return faded clips."""
        shape = (len(clips), 1, 1)
        strength = torch.rand(shape, device=clips.device)
        chance = torch.rand(shape, device=clips.device)
        fades = chance < self.probability
        amount = strength * fades * region.inside
        background = background_colour(clips).expand_as(clips)
        return torch.lerp(clips, background, amount[:, None, None])


@dataclass(frozen=True, kw_only=True)
class ContextCorruption:
    """Corrupt latents of reference frames as pixels: warp, superimpose, fade.

    Attributes:
        codec: whose latents they are.
        bend: see `Warp`.
        knots: see `Warp`.
        radius: see `Warp` and `Fade`.
        stretch: see `Warp`.
        squeeze: see `Warp`.
        superimpose: share of clips in which each frame shows two warped ones.
        fade: share of clips in which a region fades.
    """

    codec: LatentCodec
    bend: float = 3.0
    knots: int = 6
    radius: float = 8.0
    stretch: tuple[float, float] = (0.4, 0.15)
    squeeze: float = 2.0
    superimpose: float = 0.6
    fade: float = 0.25

    @torch.no_grad()
    def __call__(self, latents: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f c h w"]:
        """Return corrupted latents; only their spatial channels change."""
        clips = self._decode(latents)
        superimposed = self.superimposing(clips)
        fading = Fade(probability=self.fade, radius=self.radius)
        faded = fading(superimposed, fading.region(clips))
        encoded = self._encode(faded).to(latents.dtype)
        spatial = self.codec.spatial_channels
        corrupted = encoded[:, :, :spatial]
        others = latents[:, :, spatial:]
        return torch.cat([corrupted, others], 2)

    @property
    def superimposing(self) -> Superimpose:
        """The transform of everything but the fading."""
        warp = Warp(
            bend=self.bend,
            knots=self.knots,
            radius=self.radius,
            stretch=self.stretch,
            squeeze=self.squeeze,
        )
        return Superimpose(warp=warp, probability=self.superimpose)

    def _decode(self, latents: Float[Tensor, "b f c h w"]) -> Clips:
        flat = rearrange(latents, "b f c h w -> (b f) c h w").to(self._dtype)
        frames = self.codec.decode_latents(flat).float()
        return rearrange(frames, "(b f) c h w -> b f c h w", b=len(latents))

    def _encode(self, clips: Clips) -> Float[Tensor, "b f c h w"]:
        frames = rearrange(clips, "b f c h w -> (b f) c h w").clamp(-1, 1).to(self._dtype)
        encoded = self.codec.encode_pixels(frames)
        return rearrange(encoded, "(b f) c h w -> b f c h w", b=len(clips))

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.codec.parameters()).dtype


def _sampled(clips: Clips, displacement: Float[Tensor, "b 2 h w"]) -> Clips:
    """Return clips whose every pixel comes from its place plus a displacement (x, y)."""
    height, width = clips.shape[-2:]
    down = torch.arange(height, device=clips.device, dtype=torch.float32)
    across = torch.arange(width, device=clips.device, dtype=torch.float32)
    rows, columns = torch.meshgrid(down, across, indexing="ij")
    x = columns + displacement[:, 0]
    y = rows + displacement[:, 1]
    x = x * 2 / (width - 1) - 1
    y = y * 2 / (height - 1) - 1
    normalised = torch.stack([x, y], dim=-1)
    sampled = functional.grid_sample(
        rearrange(clips, "b f c h w -> b (f c) h w"),
        normalised,
        padding_mode="border",
        align_corners=True,
    )
    return rearrange(sampled, "b (f c) h w -> b f c h w", f=clips.shape[1])
