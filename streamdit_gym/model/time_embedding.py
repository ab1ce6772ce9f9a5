"""Time in two senses: the noise level of a frame, and its position on the time axis."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

FASTEST_RADIANS = 1000.0
ROTARY_BASE = 100.0  # small, since streams see tens of frames


def sinusoid(times: Float[Tensor, "b f"], width: int) -> Float[Tensor, "b f d"]:
    """Return sines and cosines of a time in [0, 1] at frequencies from 1 to 1000 radians."""
    steps = torch.arange(width // 2, dtype=torch.float32, device=times.device)
    frequencies = torch.exp(math.log(FASTEST_RADIANS) * steps / (width // 2 - 1))
    angles = times[..., None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def rotation(
    positions: Int[Tensor, " f"], width: int
) -> tuple[Float[Tensor, "f d"], Float[Tensor, "f d"]]:
    """Return cosine and sine of the rotary embedding of frame positions.

    The sine's first half is negative, as `rotate` needs it.
    Source: RoFormer (arXiv 2104.09864), section 3.2.
    """
    steps = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device)
    frequencies = ROTARY_BASE ** (-steps / width)
    angles = positions[:, None].float() * frequencies
    sine = angles.sin()
    return angles.cos().repeat(1, 2), torch.cat([-sine, sine], dim=-1)


def rotate(
    x: Float[Tensor, "b f ... d"], cosine: Float[Tensor, "f d"], sine: Float[Tensor, "f d"]
) -> Float[Tensor, "b f ... d"]:
    """Turn queries or keys by their frame's rotation."""
    shape = (len(cosine), *[1] * (x.ndim - 3), -1)
    cosine = cosine.view(shape).to(x.dtype)
    sine = sine.view(shape).to(x.dtype)
    swapped = x.roll(x.shape[-1] // 2, -1)
    return swapped.mul_(sine).addcmul_(x, cosine)  # in place: fresh memory costs more
