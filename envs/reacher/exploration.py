"""How Reacher is explored: random torques of any strength, in half of the episodes with a brake.

Full torques that nothing brakes spin the arm faster than any trained policy does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from streamdit_gym.data.random_actions import HeldExploration
from streamdit_gym.envs.reacher.definition import ACTIONS

BRAKED_SHARE = 0.5  # of the episodes
MAX_BRAKE = 0.1  # torque per rad/s


class Exploration:
    """Chooses torques; every episode has a strength and a brake of its own."""

    def __init__(self) -> None:
        self._held = HeldExploration(ACTIONS)
        self._strength = 1.0
        self._brake = 0.0

    def __call__(self, env: Any, rng: np.random.Generator) -> Float[np.ndarray, " 2"]:
        """Return the torques of the next frame.

        Args:
            env: the environment, unwrapped.
            rng: draws them.
        """
        if env.data.time == 0:
            self._held = HeldExploration(ACTIONS)
            self._strength = rng.random()
            is_braked = rng.random() < BRAKED_SHARE
            self._brake = is_braked * rng.uniform(0, MAX_BRAKE)
        torques = self._strength * self._held.next(rng) - self._brake * env.data.qvel[:2]
        return np.clip(torques, ACTIONS.low, ACTIONS.high).astype(ACTIONS.dtype)
