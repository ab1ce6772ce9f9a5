"""How Reacher is explored: random torques, or reaching for random postures.

Full torques that nothing brakes spin the arm faster than any trained policy does; a policy reaches,
and then holds still.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from streamdit_gym.data.random_actions import HeldExploration
from streamdit_gym.envs.reacher.definition import ACTIONS

REACHING_SHARE = 0.5  # of the episodes
BRAKED_SHARE = 0.5  # of the others
MAX_BRAKE = 0.1  # torque per rad/s
MIN_REACHING_BRAKE = 0.02  # torque per rad/s
PULL_RANGE = (0.1, 1.0)  # torque per rad from the posture that is reached for
REACHING_STRENGTH = 0.3  # of the random torques on the way, most


class Exploration:
    """Chooses torques; every episode has a strength, a brake and a posture of its own."""

    def __init__(self) -> None:
        self._held = HeldExploration(ACTIONS)
        self._strength = 1.0
        self._brake = 0.0
        self._pull = 0.0
        self._posture = np.zeros(2)  # rad, of both joints

    def __call__(self, env: Any, rng: np.random.Generator) -> Float[np.ndarray, " 2"]:
        """Return the torques of the next frame.

        Args:
            env: the environment, unwrapped.
            rng: draws them.
        """
        angles = env.data.qpos[:2]
        if env.data.time == 0:
            self._begin(angles, rng)
        pull = self._pull * (self._posture - angles)
        brake = self._brake * env.data.qvel[:2]
        torques = self._strength * self._held.next(rng) + pull - brake
        return np.clip(torques, ACTIONS.low, ACTIONS.high).astype(ACTIONS.dtype)

    def _begin(self, angles: Float[np.ndarray, " 2"], rng: np.random.Generator) -> None:
        """Draw what an episode is like."""
        self._held = HeldExploration(ACTIONS)
        self._strength = rng.random()
        if rng.random() < REACHING_SHARE:
            self._strength *= REACHING_STRENGTH
            self._pull = np.exp(rng.uniform(*np.log(PULL_RANGE)))
            self._brake = rng.uniform(MIN_REACHING_BRAKE, MAX_BRAKE)
            self._posture = angles + rng.uniform(-np.pi, np.pi, 2)
        else:
            self._pull = 0.0
            is_braked = rng.random() < BRAKED_SHARE
            self._brake = is_braked * rng.uniform(0, MAX_BRAKE)
