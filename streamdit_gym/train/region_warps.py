"""Ways to displace the content of one region of a frame.

Each function returns, for every pixel, the offset (x, y) of where its content comes from. Each
takes its random numbers for all clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from streamdit_gym.train.losses import background_color

WAVES = 3  # with one to so many periods around, the first the largest
Offsets = Float[Tensor, "b 2 h w"]
PerClip = Float[Tensor, "b 1 1"]


@dataclass(frozen=True)
class Region:
    """A disc of each clip.

    Attributes:
        x: every pixel's offset from the disc's center, in pixels.
        y: likewise.
        inside: whether it is in the disc.
    """

    x: Float[Tensor, "b h w"]
    y: Float[Tensor, "b h w"]
    inside: Bool[Tensor, "b h w"]

    @property
    def offsets(self) -> Offsets:
        """Both offsets."""
        return torch.stack([self.x, self.y], 1)

    def uniform(self) -> PerClip:
        """Return a random number from 0 to 1 for every clip."""
        return torch.rand(len(self.x), 1, 1, device=self.x.device)

    def normal(self) -> PerClip:
        """Return a random number of standard deviation 1 for every clip."""
        return torch.randn(len(self.x), 1, 1, device=self.x.device)


def saliency(clips: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f 1 h w"]:
    """Return the squared difference of every pixel from the frame's background."""
    return (clips - background_color(clips)).square().sum(2, keepdim=True)


def pick_region(clips: Float[Tensor, "b f c h w"], radius: PerClip) -> Region:
    """Return a random disc of each clip: in half of them anywhere, in half on something salient."""
    size = clips.shape[-1]
    salient = saliency(clips[:, :1])[:, 0].flatten(1) + 1e-6
    probability = salient / salient.sum(1, keepdim=True) + 1 / size**2
    center = torch.multinomial(probability, 1)[..., None]
    along = torch.arange(size, device=clips.device, dtype=torch.float32)
    x, y = torch.broadcast_tensors(along - center % size, along[:, None] - center // size)
    inside = x.square() + y.square() < radius.square()
    return Region(x, y, inside)


def stretched_by_direction(region: Region, turn: float, stretch: float) -> Offsets:
    """Turn and stretch the region by amounts that depend on the direction from its center.

    Args:
        region: the region.
        turn: standard deviation of the turn, in radians.
        stretch: standard deviation of the stretch, as a logarithm.
    """
    angle = random_by_direction(region, turn)
    log_length = random_by_direction(region, stretch)
    return _turned(region, angle) * log_length.exp()[:, None] - region.offsets


def rotated(region: Region) -> Offsets:
    """Rotate the region about its center."""
    angle = 2 * torch.pi * region.uniform()
    return _turned(region, angle) - region.offsets


def squeezed(region: Region, most: float) -> Offsets:
    """Make the region's content up to so many times smaller."""
    factor = 1 + (most - 1) * region.uniform()
    return region.offsets * factor[:, None] - region.offsets


def displaced_from_elsewhere(region: Region) -> Offsets:
    """Fill the region with what is somewhere else."""
    size = region.x.shape[-1]
    return (size / 4) * torch.randn(len(region.x), 2, 1, 1, device=region.x.device)


def slid_over_edge(region: Region, reach: float) -> Offsets:
    """Slide the region's content towards the nearest edge, and maybe over it.

    Args:
        region: the region.
        reach: how far, in pixels, and how near an edge must be; where none is, nothing moves.
    """
    inwards = nearest_edge_direction(region, reach)
    return reach * inwards * region.uniform()[:, None]


def nearest_edge_direction(region: Region, reach: float) -> Float[Tensor, "b 2 1 1"]:
    """Return the direction (x, y) away from the nearest edge; 0 where every edge is far."""
    x, y = region.x, region.y
    axes = (1, 2)
    gaps = torch.stack([-x.amin(axes), x.amax(axes), -y.amin(axes), y.amax(axes)], 1)
    gap, edge = gaps.min(1)
    inwards = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], device=x.device)
    is_near = (gap < reach)[:, None]
    return (inwards[edge] * is_near)[..., None, None]


def random_by_direction(region: Region, deviation: float) -> Float[Tensor, "b h w"]:
    """Return a random number for each direction from the center: a sum of a few waves."""
    direction = torch.atan2(region.y, region.x)
    total = torch.zeros_like(direction)
    for periods in range(1, WAVES + 1):
        phase = 2 * torch.pi * region.uniform()
        height = deviation * region.normal() * 2**0.5 / periods**2
        total = total + height * torch.sin(periods * direction + phase)
    return total


def _turned(region: Region, angle: Tensor) -> Offsets:
    """Return the offsets turned by an angle in radians: one per clip, or per pixel."""
    cos = angle.cos()
    sin = angle.sin()
    x = region.x * cos - region.y * sin
    y = region.x * sin + region.y * cos
    return torch.stack([x, y], 1)
