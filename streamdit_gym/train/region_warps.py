"""Ways to displace the content of one region of a frame.

Each function returns, for every pixel, the offset (x, y) of where its content comes from. Each
takes its random numbers for all clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.train.losses import background_colour

# away from the left, right, top and bottom edge
INWARDS = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
SQRT_2 = 2**0.5
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
    difference = clips - background_colour(clips)
    return difference.square().sum(2, keepdim=True)


def pick_region(clips: Float[Tensor, "b f c h w"], radius: PerClip) -> Region:
    """Return a random disc of each clip: in half of them anywhere, in half on something salient."""
    height, width = clips.shape[-2:]
    first_frames = clips[:, :1]
    center = _random_pixels(first_frames)
    column = center % width
    row = center // width
    columns = torch.arange(width, device=clips.device, dtype=torch.float32)
    rows = torch.arange(height, device=clips.device, dtype=torch.float32)
    x_offsets = columns - column
    y_offsets = rows[:, None] - row
    x, y = torch.broadcast_tensors(x_offsets, y_offsets)
    distance = x.square() + y.square()
    inside = distance < radius.square()
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
    length = log_length.exp()[:, None]
    return length * _turned(region, angle) - region.offsets


def rotated(region: Region) -> Offsets:
    """Rotate the region about its center."""
    angle = 2 * torch.pi * region.uniform()
    return _turned(region, angle) - region.offsets


def squeezed(region: Region, most: float) -> Offsets:
    """Make the region's content up to so many times smaller."""
    excess = (most - 1) * region.uniform()
    factor = 1 + excess[:, None]
    return factor * region.offsets - region.offsets


def displaced_from_elsewhere(region: Region) -> Offsets:
    """Fill the region with what is somewhere else."""
    count, height, width = region.x.shape
    deviation = min(height, width) / 4
    direction = torch.randn(count, 2, 1, 1, device=region.x.device)
    return deviation * direction


def slid_over_edge(region: Region, reach: float) -> Offsets:
    """Slide the region's content towards the nearest edge, and maybe over it.

    Args:
        region: the region.
        reach: how far, in pixels, and how near an edge must be; where none is, nothing moves.
    """
    inwards = nearest_edge_direction(region, reach)
    share = region.uniform()[:, None]
    return reach * inwards * share


def nearest_edge_direction(region: Region, reach: float) -> Float[Tensor, "b 2 1 1"]:
    """Return the direction (x, y) away from the nearest edge; 0 where every edge is far."""
    axes = (1, 2)
    left = -region.x.amin(axes)
    right = region.x.amax(axes)
    top = -region.y.amin(axes)
    bottom = region.y.amax(axes)
    gap, edge = torch.stack([left, right, top, bottom], 1).min(1)
    inwards = torch.tensor(INWARDS, device=gap.device)
    is_near = gap < reach
    direction = inwards[edge] * is_near[:, None]
    return direction[..., None, None]


def random_by_direction(region: Region, deviation: float) -> Float[Tensor, "b h w"]:
    """Return a random number for each direction from the center: a sum of a few waves."""
    direction = torch.atan2(region.y, region.x)
    total = torch.zeros_like(direction)
    for periods in range(1, WAVES + 1):
        phase = 2 * torch.pi * region.uniform()
        height = deviation * region.normal()
        height = height * SQRT_2 / periods**2
        angle = periods * direction + phase
        wave = height * torch.sin(angle)
        total = total + wave
    return total


def _turned(region: Region, angle: Tensor) -> Offsets:
    """Return the offsets turned by an angle in radians: one per clip, or per pixel."""
    cos = angle.cos()
    sin = angle.sin()
    x = region.x * cos - region.y * sin
    y = region.x * sin + region.y * cos
    return torch.stack([x, y], 1)


def _random_pixels(frames: Float[Tensor, "b 1 c h w"]) -> Int[Tensor, "b 1 1"]:
    """Return the number of a random pixel of each frame; salient ones are likelier."""
    height, width = frames.shape[-2:]
    salient = saliency(frames).flatten(1)
    salient = salient + 1e-6
    on_something = salient / salient.sum(1, keepdim=True)
    anywhere = 1 / (height * width)
    pixels = torch.multinomial(on_something + anywhere, 1)
    return pixels[..., None]
