"""Policies that look at nothing: a random action at every frame, or held for some frames."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from streamdit_gym.data.random_actions import HeldRandomActions


class RandomPolicy:
    """Draws every action uniformly."""

    observation = None

    def reset(self, num_rows: int, num_actions: int, rng: np.random.Generator) -> None:
        """Begin to act in so many rows."""
        self._num_rows = num_rows
        self._num_actions = num_actions
        self._rng = rng

    def act(
        self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]
    ) -> Int[np.ndarray, " n"]:
        """Return a new random action for every row."""
        return self._rng.integers(self._num_actions, size=self._num_rows)


class HeldRandomPolicy:
    """Draws actions uniformly and holds each for 1 to 8 frames."""

    observation = None

    def reset(self, num_rows: int, num_actions: int, rng: np.random.Generator) -> None:
        """Begin to act in so many rows."""
        self._actions = HeldRandomActions(rng, num_rows, num_actions)

    def act(
        self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]
    ) -> Int[np.ndarray, " n"]:
        """Return the action that every row holds."""
        return self._actions.next()
