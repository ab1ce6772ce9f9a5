"""Time in two senses: the noise level of a frame, and its place on the time axis.

Takes: times or positions.  Gives: sinusoidal features or a rotation.  Knows nothing of: latents,
    prompts.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sinusoid(times: Float[Tensor, "b f"], width: int) -> Float[Tensor, "b f d"]:
    """Return sines and cosines of a time in [0, 1] at frequencies from 1 to 1000 radians."""
    places = torch.arange(width // 2, dtype=torch.float32, device=times.device)
    frequencies = torch.exp(math.log(1000.0) * places / (width // 2 - 1))
    angles = times[..., None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def rotation(positions: Int[Tensor, " f"], width: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine, each (f, width), of the rotary embedding of frame positions, the
    sine's first half negative.

    Source: RoFormer (arXiv 2104.09864), section 3.2; base 100, since streams see tens of frames.
    """
    places = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device)
    frequencies = 100.0 ** (-places / width)
    angles = positions[:, None].float() * frequencies
    return angles.cos().repeat(1, 2), torch.cat([-angles.sin(), angles.sin()], dim=-1)


def rotate(
    x: Float[Tensor, "b f ... d"], cosine: Tensor, sine: Tensor
) -> Float[Tensor, "b f ... d"]:
    """Turn queries or keys by their frame's rotation."""
    cosine, sine = (
        part.view(len(part), *[1] * (x.ndim - 3), -1).to(x.dtype) for part in (cosine, sine)
    )
    return (
        x.roll(x.shape[-1] // 2, -1).mul_(sine).addcmul_(x, cosine)
    )  # in place: fresh memory costs more than the products
