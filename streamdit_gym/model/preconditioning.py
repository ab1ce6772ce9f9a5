"""Preconditioning: the network's input, and how its prediction becomes a velocity.

Time: t = 0 is noise, t = 1 is clean. Source: StreamDiT (arXiv 2507.03745), section 3.1.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

S_MIN = 1e-5


def expand_times(times: Float[Tensor, "b f"]) -> Float[Tensor, "b f 1 1 1"]:
    """Return times that broadcast over latents."""
    return times[..., None, None, None]


def linear_estimate(
    at: Float[Tensor, "b f c h w"], times: Float[Tensor, "b f"]
) -> Float[Tensor, "b f c h w"]:
    """Return the best linear guess of X1 from X_t for data of unit variance.

    It is t X_t / (t^2 + (1 - t)^2): 0 at t = 0, where X_t says nothing, and X_t itself at t = 1.
    """
    t = expand_times(times)
    noise_share = 1 - t
    variance = t.square() + noise_share.square()
    gain = t / variance
    return at * gain


def unit_variance(
    at: Float[Tensor, "b f c h w"], times: Float[Tensor, "b f"]
) -> Float[Tensor, "b f c h w"]:
    """Return X_t scaled to unit variance, for data of unit variance: at t = 0 the noise itself."""
    t = expand_times(times)
    noise_share = 1 - t
    variance = t.square() + noise_share.square()
    return at * variance.rsqrt()


def velocity_of_clean(
    clean: Float[Tensor, "b f c h w"],
    at: Float[Tensor, "b f c h w"],
    times: Float[Tensor, "b f"],
    floor: float = 0.0,
) -> Float[Tensor, "b f c h w"]:
    """Return the velocity that leads from a point on the path to a predicted clean latent.

    Args:
        clean: the prediction of X1.
        at: the point X_t.
        times: its time.
        floor: smallest remaining time to divide by; above 0 it bounds the weight of almost clean
            frames in a loss.
    """
    difference = clean - (1 - S_MIN) * at
    return difference / _remaining_time(times, floor)


def clean_of_velocity(
    velocity: Float[Tensor, "b f c h w"],
    at: Float[Tensor, "b f c h w"],
    times: Float[Tensor, "b f"],
    floor: float = 0.0,
) -> Float[Tensor, "b f c h w"]:
    """Undo `velocity_of_clean`: return the clean latent that a velocity stands for."""
    remaining = _remaining_time(times, floor)
    return velocity * remaining + (1 - S_MIN) * at


def _remaining_time(times: Float[Tensor, "b f"], floor: float) -> Float[Tensor, "b f 1 1 1"]:
    t = expand_times(times)
    remaining = 1 - (1 - S_MIN) * t
    least = max(floor, S_MIN)
    return remaining.clamp_min(least)
