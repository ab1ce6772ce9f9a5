"""A policy chooses an action for every row of a batch, in environments and in streams alike."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from streamdit_gym.actions import ActionLanguage

Observation = Literal["state", "latent", "frame"]
# Numbers of a menu, or values of a box.
Actions = Int[np.ndarray, " n"] | Float[np.ndarray, "n d"]


class Policy(Protocol):
    """Chooses actions for a batch of rows."""

    @property
    def observation(self) -> Observation | None:
        """What `act` is shown of every row, as in `AgentTraining`; None: it looks at nothing."""

    def reset(self, num_rows: int, actions: ActionLanguage, rng: np.random.Generator) -> None:
        """Begin to act in so many rows; `rng` is the only source of the policy's own chance.

        Args:
            num_rows: rows of the batch.
            actions: of the world.
            rng: draws what the policy does by chance.
        """

    def act(self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]) -> Actions:
        """Return an action for every row.

        Args:
            observation: what the rows look like now.
            episode_starts: which rows begin an episode with this observation.
        """
