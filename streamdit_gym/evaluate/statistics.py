"""Numbers with their intervals.

Takes: one row of samples per episode.  Gives: an estimate with a 95 % interval, and shares of one
    in another.  Knows nothing of: worlds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Statistic = Callable[[np.ndarray], float]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured number.

    Attributes:
        value: the number.
        low: lower end of its 95 % interval.
        high: upper end.
        count: independent samples (episodes, or streams) behind it.
        samples: one row for each of them.
        statistic: what the number is of its samples.
    """

    value: float
    low: float
    high: float
    count: int
    samples: np.ndarray = field(repr=False, compare=False)
    statistic: Statistic = field(repr=False, compare=False)

    def agrees(self, other: Estimate) -> bool:
        """Whether the two intervals overlap."""
        return self.low <= other.high and other.low <= self.high

    def __format__(self, spec: str) -> str:
        """Return ``value [low, high]``, every number by `spec`."""
        return f"{format(self.value, spec)} [{format(self.low, spec)}, {format(self.high, spec)}]"


def mean(samples: np.ndarray) -> float:
    """Return the mean over everything that could be measured."""
    return float(np.nanmean(samples)) if np.isfinite(samples).any() else float("nan")


def median(samples: np.ndarray) -> float:
    """Return the median over everything that could be measured."""
    return float(np.nanmedian(samples)) if np.isfinite(samples).any() else float("nan")


def correlation(samples: np.ndarray) -> float:
    """Return Pearson's r between the two numbers on the last axis;
    nan if one of them never changes.
    """
    pairs = samples.reshape(-1, 2).astype(np.float64)
    if (pairs.std(0) <= 1e-6 * np.abs(pairs).max(0)).any():
        return float("nan")
    a, b = (pairs - pairs.mean(0)).T
    return float((a * b).mean() / (a.std() * b.std()))


def ratio(samples: np.ndarray) -> float:
    """Return the sum of the first column over the sum of the second."""
    above, below = samples.reshape(-1, 2).sum(0)
    return float(above / below) if below > 0 else float("nan")


def psnr(samples: np.ndarray) -> float:
    """Return the PSNR in dB of columns (squared error in grey levels, pixels),
    summed over the rows.
    """
    square = ratio(samples)
    return float(10 * np.log10(255**2 / max(square, 1e-2)))


def estimate(
    samples: np.ndarray, statistic: Statistic = mean, draws: int = 500, seed: int = 0
) -> Estimate:
    """Return a statistic with its interval, by the bootstrap over the first axis.

    Args:
        samples: one row per independent sample.
        statistic: of any number of rows.
        draws: bootstrap samples.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(samples[rng.integers(len(samples), size=len(samples))]) for _ in range(draws)
    ]
    finite = np.array([value for value in drawn if np.isfinite(value)])
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (float("nan"), float("nan"))
    return Estimate(
        value=statistic(samples),
        low=float(low),
        high=float(high),
        count=len(samples),
        samples=samples,
        statistic=statistic,
    )


def share(part: Estimate, whole: Estimate) -> Estimate:
    """Return one number as a share of another, with its interval by the bootstrap over the samples
    of both at once.

    What is hard for one is hard for the other, so the share of two numbers of the same episodes is
    known far better than either.

    Args:
        part: the one, of the same samples in the same order.
        whole: the other; where both are zero, the share is 1.
    """

    def of(rows: np.ndarray) -> float:
        above, below = part.statistic(rows[..., 0]), whole.statistic(rows[..., 1])
        return above / below if below else 1.0 if above == below else float("nan")

    return estimate(np.stack([part.samples, whole.samples], -1), of)
