"""Policies that look at nothing: a random action at every frame, or held for some frames."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from streamdit_gym.actions import ActionLanguage, SpokenBox
from streamdit_gym.agents.policies.policy import Actions
from streamdit_gym.data.random_actions import HeldExploration, HeldRandomActions


def random_actions(rng: np.random.Generator, actions: ActionLanguage, num_rows: int) -> Actions:
    """Return uniformly random actions."""
    if not isinstance(actions, SpokenBox):
        return rng.integers(len(actions), size=num_rows)
    values = rng.uniform(actions.low, actions.high, size=(num_rows, len(actions)))
    return values.astype(actions.dtype)


class RandomPolicy:
    """Draws every action uniformly."""

    observation = None

    def reset(self, num_rows: int, actions: ActionLanguage, rng: np.random.Generator) -> None:
        """Begin to act in so many rows."""
        self._num_rows = num_rows
        self._actions = actions
        self._rng = rng

    def act(self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]) -> Actions:
        """Return a new random action for every row."""
        return random_actions(self._rng, self._actions, self._num_rows)


class HeldRandomPolicy:
    """Draws random actions and holds each for 1 to 8 frames, as recordings explore."""

    observation = None

    def reset(self, num_rows: int, actions: ActionLanguage, rng: np.random.Generator) -> None:
        """Begin to act in so many rows."""
        self._rng = rng
        self._explorations: list[HeldExploration] = []
        if isinstance(actions, SpokenBox):
            self._explorations = [HeldExploration(actions) for _ in range(num_rows)]
        else:
            self._menu_actions = HeldRandomActions(rng, num_rows, len(actions))

    def act(self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]) -> Actions:
        """Return the action that every row holds."""
        if self._explorations:
            return np.stack([exploration.next(self._rng) for exploration in self._explorations])
        return self._menu_actions.next()
