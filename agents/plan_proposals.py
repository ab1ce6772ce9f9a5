"""What candidates of plans are drawn from: categorical of a menu's actions, normal in a box.

Every environment has distributions of its own, one for each part of the horizon. The best
candidates of a round say what the next round is drawn from.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, Shaped

from streamdit_gym.actions import ActionLanguage, Menu, SpokenBox

# one action per part of the horizon, of every candidate of every environment
Candidates = Shaped[np.ndarray, "n m parts *a"]


class Proposals(Protocol):
    """Distributions of actions."""

    def draw(self, rng: np.random.Generator, candidates: int) -> Candidates:
        """Draw candidates.

        Args:
            rng: draws them.
            candidates: how many for every environment.
        """

    def fit(self, elites: Candidates) -> None:
        """Become like the best candidates of a round."""


def first_proposals(
    actions: ActionLanguage, num_envs: int, num_parts: int, uniform_share: float
) -> Proposals:
    """Return the distributions that know nothing yet.

    Args:
        actions: the world's.
        num_envs: number of environments.
        num_parts: parts of the horizon.
        uniform_share: share of the actions that are drawn uniformly in every round.
    """
    if isinstance(actions, Menu):
        return MenuProposals(len(actions), (num_envs, num_parts), uniform_share)
    return BoxProposals(actions, (num_envs, num_parts), uniform_share)


class MenuProposals:
    """A probability of every action.

    Args:
        num_actions: of the menu.
        shape: numbers of environments and of parts.
        uniform_share: see `first_proposals`.
    """

    def __init__(self, num_actions: int, shape: tuple[int, int], uniform_share: float) -> None:
        self.uniform_share = uniform_share
        self.probabilities: Float[np.ndarray, "n parts a"]
        self.probabilities = np.full((*shape, num_actions), 1 / num_actions)

    def draw(self, rng: np.random.Generator, candidates: int) -> Int[np.ndarray, "n m parts"]:
        """See `Proposals.draw`."""
        num_envs, num_parts, num_actions = self.probabilities.shape
        uniform = rng.random((num_envs, candidates, num_parts, 1))
        exceeds = uniform > self.probabilities.cumsum(-1)[:, None]
        # rounding can leave the last sum just under 1
        return exceeds.sum(-1).clip(max=num_actions - 1)

    def fit(self, elites: Int[np.ndarray, "n e parts"]) -> None:
        """See `Proposals.fit`: their frequencies, mixed with uniform ones."""
        num_actions = self.probabilities.shape[-1]
        is_action = elites[..., None] == np.arange(num_actions)
        frequencies = is_action.mean(1)
        uniform = self.uniform_share / num_actions
        self.probabilities = (1 - self.uniform_share) * frequencies + uniform


class BoxProposals:
    """A mean and a standard deviation of every dimension; the mean itself is a candidate, too.

    Args:
        box: the actions.
        shape: numbers of environments and of parts.
        uniform_share: see `first_proposals`.
    """

    def __init__(self, box: SpokenBox, shape: tuple[int, int], uniform_share: float) -> None:
        self.low = np.asarray(box.low)
        self.high = np.asarray(box.high)
        self.uniform_share = uniform_share
        self.mean: Float[np.ndarray, "n parts d"]
        self.mean = np.broadcast_to((self.low + self.high) / 2, (*shape, len(box)))
        self.deviation: Float[np.ndarray, "n parts d"]
        self.deviation = np.broadcast_to((self.high - self.low) / 2, (*shape, len(box)))

    def draw(self, rng: np.random.Generator, candidates: int) -> Float[np.ndarray, "n m parts d"]:
        """See `Proposals.draw`."""
        num_envs, num_parts, dimensions = self.mean.shape
        shape = (num_envs, candidates, num_parts, dimensions)
        normal = self.mean[:, None] + self.deviation[:, None] * rng.standard_normal(shape)
        uniform = rng.uniform(self.low, self.high, shape)
        is_uniform = rng.random((*shape[:3], 1)) < self.uniform_share
        actions = np.where(is_uniform, uniform, normal)
        actions[:, 0] = self.mean
        return actions.clip(self.low, self.high).astype(np.float32)

    def fit(self, elites: Float[np.ndarray, "n e parts d"]) -> None:
        """See `Proposals.fit`: their mean and deviation."""
        self.mean = elites.mean(1)
        self.deviation = elites.std(1)
