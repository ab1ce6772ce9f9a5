"""Time in two senses: the noise level of a frame, and its place on the time axis.

Takes: times or positions.  Gives: sinusoidal features or a rotation.  Knows nothing of: latents, prompts.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sinusoid(times: Float[Tensor, "b f"], width: int) -> Float[Tensor, "b f d"]:
    """Return sines and cosines of a time in [0, 1] at frequencies from 1 to 1000 radians."""
    frequencies = torch.exp(math.log(1000.0) * torch.arange(width // 2, device=times.device) / (width // 2 - 1))
    angles = times[..., None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def rotation(positions: Int[Tensor, " f"], width: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine, each (f, width / 2), of the rotary embedding of frame positions.

    Source: RoFormer (arXiv 2104.09864), section 3.2; base 100, since streams see tens of frames.
    """
    frequencies = 100.0 ** (-torch.arange(0, width, 2, device=positions.device) / width)
    angles = positions[:, None].float() * frequencies
    return angles.cos(), angles.sin()


def rotate(x: Float[Tensor, "b f n g d"], cosine: Tensor, sine: Tensor) -> Float[Tensor, "b f n g d"]:
    """Turn queries or keys by their frame's rotation."""
    cosine, sine = cosine[:, None, None].to(x.dtype), sine[:, None, None].to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
