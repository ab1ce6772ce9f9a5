"""One Euler step along the flow, every frame at its own time.

Takes: latents, velocity, step length.  Gives: latents.  Knows nothing of: where the velocity comes from.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def euler_step(latents: Float[Tensor, "b f c h w"], velocity: Float[Tensor, "b f c h w"], dt: float) -> Float[Tensor, "b f c h w"]:
    """Return X_{t+dt} = X_t + u dt.  Source: StreamDiT (arXiv 2507.03745), section 3.1."""
    return latents + dt * velocity
