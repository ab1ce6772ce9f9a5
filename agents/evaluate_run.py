"""Policies side by side as a table, and how much of the way to a ceiling they get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamdit_gym.agents.policy_scores import (
    REAL,
    EvaluationSettings,
    PolicyScore,
    evaluate_policies,
)

FLOOR = "random"
BOOTSTRAP_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class CeilingProgress:
    """Which share of the way from the random policy to the ceiling is covered, with its interval.

    Attributes:
        share: 0 at the random policy's mean return, 1 at the ceiling's.
        low: lower end of its 95 % interval (bootstrap).
        high: upper end.
    """

    share: float
    low: float
    high: float


def scores_of_named(
    policies: Sequence[str], env: str, settings: EvaluationSettings
) -> list[PolicyScore]:
    """Score policies, given by name or path, in a world and in its simulator.

    Args:
        policies: names or paths; the scores' labels are short forms of them.
        env: id of the environment.
        settings: how the policies are played.
    """
    names = list(dict.fromkeys(policies))
    label = labels(names)
    return evaluate_policies({label[name]: name for name in names}, env, settings)


def labels(names: Sequence[str]) -> dict[str, str]:
    """Return names for the table: of paths so many last parts, two at least, that all differ."""
    most_parts = max(len(Path(name).parts) for name in names)
    short: dict[str, str] = {}
    for num_parts in range(2, 2 + most_parts):
        short = {name: "/".join(Path(name).parts[-num_parts:]) for name in names}
        if len(set(short.values())) == len(names):
            break
    return short


def progress_to_ceiling(
    scores: Sequence[PolicyScore], compared: set[str], ceiling: set[str]
) -> CeilingProgress:
    """Return how far from the random policy's mean return to the ceiling's some policies get.

    The bootstrap draws agents first and then episodes, since agents of different seeds differ more
    than episodes explain.

    Args:
        scores: of all of them in the simulator.
        compared: labels of the policies on the way.
        ceiling: labels of the agents at its end.
    """
    returns = {row.policy: row.score.returns for row in scores if row.place == REAL}
    rng = np.random.default_rng(0)
    groups = ([FLOOR], sorted(compared), sorted(ceiling))
    shares = []
    for _ in range(BOOTSTRAP_DRAWS):
        means = [_resampled_mean([returns[name] for name in group], rng) for group in groups]
        shares.append(_share(*means))
    low, high = np.quantile(shares, (0.025, 0.975))
    exact = [float(np.mean([returns[name].mean() for name in group])) for group in groups]
    return CeilingProgress(share=_share(*exact), low=float(low), high=float(high))


def _resampled_mean(returns: list[np.ndarray], rng: np.random.Generator) -> float:
    agents = rng.integers(len(returns), size=len(returns))
    means = []
    for agent in agents:
        episodes = returns[agent]
        means.append(episodes[rng.integers(len(episodes), size=len(episodes))].mean())
    return float(np.mean(means))


def _share(floor: float, mean: float, ceiling: float) -> float:
    return (mean - floor) / (ceiling - floor)
