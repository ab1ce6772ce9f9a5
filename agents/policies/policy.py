"""A policy chooses an action for every row of a batch, in environments and in streams alike."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from jaxtyping import Bool, Int

Observation = Literal["state", "latent", "frame"]


class Policy(Protocol):
    """Chooses menu actions for a batch of rows."""

    @property
    def observation(self) -> Observation | None:
        """What `act` is shown of every row, as in `AgentTraining`; None: it looks at nothing."""

    def reset(self, num_rows: int, num_actions: int, rng: np.random.Generator) -> None:
        """Begin to act in so many rows; `rng` is the only source of the policy's own chance."""

    def act(
        self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]
    ) -> Int[np.ndarray, " n"]:
        """Return an action for every row.

        Args:
            observation: what the rows look like now.
            episode_starts: which rows begin an episode with this observation.
        """
