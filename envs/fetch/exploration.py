"""How Fetch is explored: random moves, moves to random places, and pushes of the block."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from streamdit_gym.data.random_actions import HeldExploration
from streamdit_gym.envs.fetch.definition import ACTIONS, places

LOW = np.array([1.15, 0.55, 0.415])  # m, of what the gripper is moved through
HIGH = np.array([1.5, 0.95, 0.65])
RANDOM_SHARE = 0.3  # of the stretches in which actions are random
PUSH_SHARE = 0.6  # of the others, in which the gripper passes where the block is
STRETCH_FRAMES = (6, 20)
GAIN = 10.0  # action for a metre from the place that is moved to
NOISE = 0.3
BEHIND = 0.09  # m between the middle of the block and where a push begins
ARRIVED = 0.03  # m


class Exploration:
    """Chooses actions in stretches: random ones, or moves to one place after another."""

    def __init__(self) -> None:
        self._held = HeldExploration(ACTIONS)
        self._is_random = True
        self._frames_left = 0
        self._way: list[Float[np.ndarray, " 3"]] = []
        self._strength = 1.0

    def __call__(self, env: Any, rng: np.random.Generator) -> Float[np.ndarray, " 4"]:
        """Return the action of the next frame.

        Args:
            env: the environment, unwrapped.
            rng: draws it.
        """
        gripper, block, _ = places(env)
        if env.data.time <= env.initial_time or self._frames_left == 0:
            self._begin(block, rng)
        self._frames_left -= 1
        action = self._held.next(rng).copy()
        outside = (gripper < LOW) | (gripper > HIGH)
        if self._is_random and not outside.any():
            return action
        if len(self._way) > 1 and np.linalg.norm(self._way[0] - gripper) < ARRIVED:
            self._way.pop(0)
        towards = self._strength * np.clip(GAIN * (self._way[0] - gripper), -1, 1)
        action[:3] = towards + NOISE * rng.normal(size=3)
        return np.clip(action, ACTIONS.low, ACTIONS.high).astype(ACTIONS.dtype)

    def _begin(self, block: Float[np.ndarray, " 3"], rng: np.random.Generator) -> None:
        """Draw what the next stretch of frames is like."""
        self._held = HeldExploration(ACTIONS)
        self._frames_left = int(rng.integers(*STRETCH_FRAMES))
        self._is_random = rng.random() < RANDOM_SHARE
        self._strength = rng.uniform(0.4, 1.0)
        self._way = [rng.uniform(LOW, HIGH)]
        is_in_reach = (block > LOW).all() and (block < HIGH).all()
        if not self._is_random and is_in_reach and rng.random() < PUSH_SHARE:
            angle = rng.uniform(0, 2 * np.pi)
            direction = np.array([np.cos(angle), np.sin(angle), 0.0])
            self._frames_left *= 2
            way = [block - BEHIND * direction, block + BEHIND * direction]
            self._way = [np.clip(place, LOW, HIGH) for place in way]
