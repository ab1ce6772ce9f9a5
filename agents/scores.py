"""Playing episodes and saying how well it went.

Takes: an environment and a player.  Gives: returns with an interval.  Knows nothing of: training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

Player = Callable[
    [Any, np.ndarray], np.ndarray
]  # observations, and which environments begin an episode with them, to actions


@dataclass(frozen=True, kw_only=True)
class Score:
    """Episodes played.

    Attributes:
        returns: one undiscounted return per episode.
        successes: whether each episode ended in success.
        lengths: steps per episode.
    """

    returns: np.ndarray
    successes: np.ndarray
    lengths: np.ndarray

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def interval(self) -> float:
        """Half the width of the 95 % interval of the mean (normal approximation)."""
        return (
            float(1.96 * self.returns.std(ddof=1) / np.sqrt(len(self.returns)))
            if len(self.returns) > 1
            else float("nan")
        )

    def __str__(self) -> str:
        """Return the score as one cell of a table."""
        return f"{self.mean:6.2f} ± {self.interval:.2f}   success {100 * self.successes.mean():3.0f} %   n={len(self.returns)}"


def play(venv: VecEnv, player: Player, episodes: int, seed: int) -> Score:
    """Play at least `episodes` episodes, the same number in every row, so that short ones are not
    favoured.

    Args:
        venv: environments that reset themselves.
        player: maps observations, and which of them begin an episode, to actions.
        episodes: least number of episodes.
        seed: of the environments.
    """
    each = -(-episodes // venv.num_envs)
    venv.seed(seed)
    observation = venv.reset()
    returns: list[list[float]] = [[] for _ in range(venv.num_envs)]
    successes: list[list[bool]] = [[] for _ in range(venv.num_envs)]
    lengths: list[list[int]] = [[] for _ in range(venv.num_envs)]
    running, steps = np.zeros(venv.num_envs), np.zeros(venv.num_envs, dtype=int)
    starts = np.ones(venv.num_envs, dtype=bool)
    while min(len(done) for done in returns) < each:
        observation, rewards, dones, infos = venv.step(player(observation, starts))
        starts = dones
        running, steps = running + rewards, steps + 1
        for row in np.flatnonzero(dones):
            if len(returns[row]) < each:
                returns[row].append(float(running[row]))
                successes[row].append(bool(infos[row].get("is_success", False)))
                lengths[row].append(int(steps[row]))
            running[row], steps[row] = 0.0, 0
    return Score(
        returns=np.concatenate(returns),
        successes=np.concatenate(successes),
        lengths=np.concatenate(lengths),
    )
