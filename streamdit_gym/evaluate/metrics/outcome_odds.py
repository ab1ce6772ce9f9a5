"""How often named outcomes come: in the world, and by the chance of the reference simulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from streamdit_gym.definition import UNCLEAR
from streamdit_gym.evaluate.diversity_schema import OddsMetrics
from streamdit_gym.evaluate.statistics import Estimate, estimate

SIMULATED_PAIRS = 2000  # of real samples, for the noise floor
NOISE_QUANTILE = 0.95
REAL, GENERATED = 0, 1

# Real and generated shares of each outcome, for every start.
Shares = Float[np.ndarray, "s 2 k"]


def name_outcomes(
    outcome: Callable[[np.ndarray], str], frames: np.ndarray, lengths: np.ndarray
) -> list[list[str]]:
    """Return the outcome of every future of every start, of the frames that count.

    Args:
        outcome: names that of one future.
        frames: of the futures, (s, n, f, h, w, 3).
        lengths: how many frames count; of starts without any no outcome is named.
    """
    return [
        [outcome(future[:length]) for future in futures]
        for futures, length in zip(frames, lengths, strict=True)
        if length
    ]


def odds_metrics(
    real: Sequence[Sequence[str]], generated: Sequence[Sequence[str]]
) -> OddsMetrics | None:
    """Compare outcomes.

    Args:
        real: names of outcomes, for every start those of its futures.
        generated: the same of the world.

    Returns:
        None without any start.
    """
    if not real:
        return None
    names = sorted({name for futures in (*real, *generated) for name in futures} | {UNCLEAR})
    shares = np.stack([_shares(real, names), _shares(generated, names)], 1)
    by_name = [
        {name: estimate(shares[:, side, column]) for column, name in enumerate(names)}
        for side in (REAL, GENERATED)
    ]
    named = [{name: each[name] for name in names if name != UNCLEAR} for each in by_name]
    return OddsMetrics(
        real=named[REAL],
        generated=named[GENERATED],
        distance=estimate(shares, total_variation),
        noise_floor=noise_floor(shares[:, REAL], len(real[0])),
        unclear=by_name[GENERATED][UNCLEAR],
        real_unclear=by_name[REAL][UNCLEAR],
    )


def total_variation(shares: Shares) -> float:
    """Return half the sum of the differences of mean shares: 0 the same, 1 nothing in common."""
    real, generated = shares.mean(0)
    return float(np.abs(generated - real).sum() / 2)


def noise_floor(shares: Float[np.ndarray, "s k"], futures: int, seed: int = 0) -> Estimate:
    """Return the total variation that two real samples stay below in 95 of 100 cases.

    Every start has its own odds, so pairs of samples are drawn start by start.

    Args:
        shares: of real outcomes, for every start.
        futures: of each start.
        seed: of the pairs.
    """
    rng = np.random.default_rng(seed)
    size = (SIMULATED_PAIRS, 2)
    counts = np.stack([rng.multinomial(futures, odds / odds.sum(), size) for odds in shares])
    samples = counts.sum(0) / (futures * len(shares))
    difference = samples[:, 0] - samples[:, 1]
    distances = np.abs(difference).sum(-1) / 2
    floor = float(np.quantile(distances, NOISE_QUANTILE))
    return Estimate(value=floor, low=floor, high=floor, count=len(shares))


def _shares(outcomes: Sequence[Sequence[str]], names: list[str]) -> Float[np.ndarray, "s k"]:
    return np.array(
        [[futures.count(name) / len(futures) for name in names] for futures in outcomes]
    )
