"""A planner as a policy."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.agents.planner import Planner, PlannerState


class PlannerPolicy:
    """Does what a planner plans.

    Args:
        planner: plans with a world.
    """

    observation: Literal["frame"] = "frame"

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self._state: PlannerState | None = None

    def reset(self, num_rows: int, actions: ActionLanguage, rng: np.random.Generator) -> None:
        """Forget all frames and plans."""
        self.planner.rng = rng
        self._state = None

    def act(
        self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]
    ) -> Int[np.ndarray, " n"]:
        """Return the next action of every row's plan."""
        actions, self._state = self.planner.predict(observation, self._state, episode_starts)
        return actions
