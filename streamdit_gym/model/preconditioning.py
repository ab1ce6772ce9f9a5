"""Preconditioning: what the network is fed, and how its prediction becomes a velocity.

Time: t = 0 is noise, t = 1 is clean. Source: StreamDiT (arXiv 2507.03745), section 3.1.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

S_MIN = 1e-5


def _wide(times: Float[Tensor, "b f"]) -> Float[Tensor, "b f 1 1 1"]:
    return times[..., None, None, None]


def linear_estimate(
    at: Float[Tensor, "b f c h w"], times: Float[Tensor, "b f"]
) -> Float[Tensor, "b f c h w"]:
    """Return the best linear guess of X1 from X_t for data of unit variance: t X_t / (t^2 + (1 -
    t)^2).

    It is 0 at t = 0, where X_t says nothing, and X_t itself at t = 1.
    """
    t = _wide(times)
    return at * (t / (t.square() + (1 - t).square()))


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
    t = _wide(times)
    return (clean - (1 - S_MIN) * at) / (1 - (1 - S_MIN) * t).clamp_min(max(floor, S_MIN))


def clean_of_velocity(
    found: Float[Tensor, "b f c h w"],
    at: Float[Tensor, "b f c h w"],
    times: Float[Tensor, "b f"],
    floor: float = 0.0,
) -> Float[Tensor, "b f c h w"]:
    """Undo `velocity_of_clean`: return the clean latent that a velocity stands for."""
    t = _wide(times)
    return found * (1 - (1 - S_MIN) * t).clamp_min(max(floor, S_MIN)) + (1 - S_MIN) * at
