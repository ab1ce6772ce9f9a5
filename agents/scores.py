"""Episodes of a policy, and how well they went."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from streamdit_gym.actions import ActionLanguage, Menu, SpokenBox
from streamdit_gym.agents.policies.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Score:
    """How episodes went.

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
    def half_width(self) -> float:
        """Half the width of the mean's 95 % interval, by the normal approximation."""
        count = len(self.returns)
        if count < 2:
            return math.nan
        deviation = self.returns.std(ddof=1)
        return float(1.96 * deviation / np.sqrt(count))

    @property
    def interval(self) -> float:
        """The former name of `half_width`."""
        warnings.warn("'interval' is now called 'half_width'", DeprecationWarning, stacklevel=2)
        return self.half_width

    def __str__(self) -> str:
        """Return the score as one cell of a table."""
        percent = 100 * self.successes.mean()
        mean = f"{self.mean:6.2f} ± {self.half_width:.2f}"
        return f"{mean}   success {percent:3.0f} %   n={len(self.returns)}"


def actions_of_space(space: spaces.Space[Any]) -> ActionLanguage:
    """Return the actions of a space; their names are numbers."""
    if isinstance(space, spaces.Box):
        names = {str(number): ("low", "high") for number in range(len(space.low))}
        return SpokenBox(names, low=space.low.tolist(), high=space.high.tolist())
    assert isinstance(space, spaces.Discrete)
    return Menu(*(str(number) for number in range(int(space.n))))


def play_episodes(venv: VecEnv, policy: Policy, num_episodes: int, seed: int) -> Score:
    """Play episodes, the same number in every row, so that short ones are not favoured.

    Args:
        venv: environments that reset themselves.
        policy: it must look at what the environments show.
        num_episodes: least number of episodes.
        seed: of the environments and of the policy.
    """
    num_rows = venv.num_envs
    episodes_per_row = -(-num_episodes // num_rows)
    returns: list[list[float]] = [[] for _ in range(num_rows)]
    successes: list[list[bool]] = [[] for _ in range(num_rows)]
    lengths: list[list[int]] = [[] for _ in range(num_rows)]
    running_returns = np.zeros(num_rows)
    steps = np.zeros(num_rows, dtype=int)
    starts = np.ones(num_rows, dtype=bool)
    actions_of_world = actions_of_space(venv.action_space)
    rng = np.random.default_rng(seed)
    policy.reset(num_rows, actions_of_world, rng)
    venv.seed(seed)
    observation = venv.reset()
    while min(map(len, returns)) < episodes_per_row:
        actions = policy.act(observation, starts)  # type: ignore[arg-type]
        observation, rewards, dones, infos = venv.step(actions)
        starts = dones
        running_returns = running_returns + rewards
        steps = steps + 1
        for row in np.flatnonzero(dones):
            if len(returns[row]) < episodes_per_row:
                is_success = infos[row].get("is_success", False)
                returns[row].append(float(running_returns[row]))
                successes[row].append(bool(is_success))
                lengths[row].append(int(steps[row]))
            running_returns[row] = 0.0
            steps[row] = 0
    return Score(
        returns=np.concatenate(returns),
        successes=np.concatenate(successes),
        lengths=np.concatenate(lengths),
    )
