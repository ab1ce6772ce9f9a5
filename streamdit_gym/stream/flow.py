"""The straight path between noise and data.

Time: t = 0 is noise, t = 1 is clean.  Source: StreamDiT (arXiv 2507.03745), section 3.1.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from streamdit_gym.model.preconditioning import S_MIN, expand_times


def point(
    clean: Float[Tensor, "b f c h w"],
    noise: Float[Tensor, "b f c h w"],
    times: Float[Tensor, "b f"],
) -> Float[Tensor, "b f c h w"]:
    """Return X_t = t X1 + (1 - (1 - s_min) t) X0, every frame at its own time."""
    t = expand_times(times)
    noise_share = 1 - (1 - S_MIN) * t
    return t * clean + noise_share * noise


def velocity(
    clean: Float[Tensor, "b f c h w"], noise: Float[Tensor, "b f c h w"]
) -> Float[Tensor, "b f c h w"]:
    """Return V = X1 - (1 - s_min) X0, the same at every time."""
    return clean - (1 - S_MIN) * noise


def euler_step(
    latents: Float[Tensor, "b f c h w"], velocity: Float[Tensor, "b f c h w"], dt: float | Tensor
) -> Float[Tensor, "b f c h w"]:
    """Return X_{t+dt} = X_t + u dt."""
    return latents + dt * velocity
