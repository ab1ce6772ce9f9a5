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
    count = width // 2
    steps = torch.arange(count, dtype=torch.float32, device=times.device)
    exponents = math.log(FASTEST_RADIANS) * steps / (count - 1)
    frequencies = torch.exp(exponents)
    column = times[..., None].float()
    angles = column * frequencies
    sines = angles.sin()
    cosines = angles.cos()
    return torch.cat([sines, cosines], dim=-1)


def rotation(
    positions: Int[Tensor, " f"], width: int
) -> tuple[Float[Tensor, "f d"], Float[Tensor, "f d"]]:
    """Return cosine and sine of the rotary embedding of frame positions.

    The sine's first half is negative, as `rotate` needs it.
    Source: RoFormer (arXiv 2104.09864), section 3.2.
    """
    steps = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device)
    exponents = -steps / width
    frequencies = ROTARY_BASE**exponents
    column = positions[:, None].float()
    angles = column * frequencies  # f d/2
    sine = angles.sin()
    cosine = angles.cos()
    both_sines = torch.cat([-sine, sine], dim=-1)
    both_cosines = cosine.repeat(1, 2)
    return both_cosines, both_sines


def rotate(
    x: Float[Tensor, "b f ... d"], cosine: Float[Tensor, "f d"], sine: Float[Tensor, "f d"]
) -> Float[Tensor, "b f ... d"]:
    """Turn queries or keys by their frame's rotation."""
    cosine = _as_factor(cosine, x)
    sine = _as_factor(sine, x)
    width = x.shape[-1]
    half = width // 2
    swapped = x.roll(half, -1)
    # in place: fresh memory costs more than the products
    swapped.mul_(sine)
    swapped.addcmul_(x, cosine)
    return swapped


def _as_factor(part: Float[Tensor, "f d"], x: Tensor) -> Tensor:
    """Return numbers per frame and feature in a shape and dtype to multiply x by."""
    axes_between = x.ndim - 3
    shape = (len(part), *[1] * axes_between, -1)
    factor = part.view(shape)
    return factor.to(x.dtype)
