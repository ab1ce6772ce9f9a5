"""Numbers with their 95 % intervals, and ratios of two of them over the same samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Statistic = Callable[[np.ndarray], float]
RELATIVE_EPSILON = 1e-6  # a deviation smaller than this part of the largest value is rounding
MIN_SQUARED_ERROR = 1e-2  # keeps the PSNR of equal frames finite
QUANTILES_95 = (0.025, 0.975)
DEVIATIONS_95 = 1.959964  # of a normal distribution


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured number.

    Attributes:
        value: the number; NaN if nothing could be measured.
        low: lower end of its 95 % interval.
        high: upper end.
        count: independent samples (episodes, or streams) behind it.
        samples: one row for each of them; None if the number comes from a file.
        statistic: computes the number from its samples.
    """

    value: float
    low: float
    high: float
    count: int
    samples: np.ndarray | None = field(default=None, repr=False, compare=False)
    statistic: Statistic | None = field(default=None, repr=False, compare=False)

    @property
    def is_measured(self) -> bool:
        """Whether there was anything to measure."""
        return not math.isnan(self.value)

    def __format__(self, spec: str) -> str:
        """Return ``value [low, high]``, every number by `spec`."""
        return f"{format(self.value, spec)} [{format(self.low, spec)}, {format(self.high, spec)}]"


UNMEASURED = Estimate(value=math.nan, low=math.nan, high=math.nan, count=0)


def mean(samples: np.ndarray) -> float:
    """Return the mean over everything that could be measured."""
    if not np.isfinite(samples).any():
        return math.nan
    return float(np.nanmean(samples))


def median(samples: np.ndarray) -> float:
    """Return the median over everything that could be measured."""
    if not np.isfinite(samples).any():
        return math.nan
    return float(np.nanmedian(samples))


def correlation(samples: np.ndarray) -> float:
    """Return Pearson's r between the two numbers on the last axis; NaN if one never changes.

    Pairs of which a number is NaN were not measured and do not count.
    """
    pairs = _measured_pairs(samples).astype(np.float64)
    if not len(pairs):
        return math.nan
    largest = np.abs(pairs).max(0)
    if (pairs.std(0) <= RELATIVE_EPSILON * largest).any():
        return math.nan
    a, b = (pairs - pairs.mean(0)).T
    covariance = (a * b).mean()
    return float(covariance / (a.std() * b.std()))


def rank_correlation(samples: np.ndarray) -> float:
    """Return Spearman's r between the two numbers on the last axis; equal numbers share a rank."""
    pairs = _measured_pairs(samples)
    if not len(pairs):
        return math.nan
    ranks = [_average_ranks(column) for column in pairs.T]
    return correlation(np.stack(ranks, -1))


def _average_ranks(numbers: np.ndarray) -> np.ndarray:
    """Return each number's rank from 1; equal numbers have the mean of the ranks they take up."""
    _, group, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last_ranks = counts.cumsum()
    mean_ranks = last_ranks - (counts - 1) / 2
    return mean_ranks[group]


def mean_maximum_rank_violation(samples: np.ndarray) -> float:
    """Return how far apart, in the second number, are pairs that the first number ranks wrongly.

    For every row the worst such pair counts; 0: no pair is ranked wrongly.
    Source: SimplerEnv (arXiv 2405.05941), section 3.
    """
    pairs = _measured_pairs(samples)
    if not len(pairs):
        return math.nan
    measured, true = pairs.T
    ranked_lower = measured[:, None] < measured
    is_lower = true[:, None] < true
    violation = np.abs(true[:, None] - true) * (ranked_lower != is_lower)
    return float(violation.max(1).mean())


def ratio(samples: np.ndarray) -> float:
    """Return the sum of the first column over the sum of the second, NaN apart."""
    numerator, denominator = _measured_pairs(samples).sum(0)
    if denominator <= 0:
        return math.nan
    return float(numerator / denominator)


def share_removed(samples: np.ndarray) -> float:
    """Return by which part the sum of the first column is less than that of the second."""
    return 1 - ratio(samples)


def psnr(samples: np.ndarray) -> float:
    """Return the PSNR in dB of two columns: squared errors in grey levels, and pixels."""
    squared_error = max(ratio(samples), MIN_SQUARED_ERROR)
    return float(10 * np.log10(255**2 / squared_error))


def _measured_pairs(samples: np.ndarray) -> np.ndarray:
    """Return the pairs on the last axis of which both numbers were measured."""
    pairs = samples.reshape(-1, 2)
    return pairs[np.isfinite(pairs).all(-1)]


def estimate(
    samples: np.ndarray, statistic: Statistic = mean, num_resamples: int = 500
) -> Estimate:
    """Return a statistic of samples with its interval, by the bootstrap over the first axis.

    Args:
        samples: one row per independent sample.
        statistic: of any number of rows.
        num_resamples: bootstrap samples.
    """
    low, high = bootstrap_interval(samples, statistic, num_resamples)
    return Estimate(
        value=statistic(samples),
        low=low,
        high=high,
        count=len(samples),
        samples=samples,
        statistic=statistic,
    )


def bootstrap_interval(
    samples: np.ndarray, statistic: Statistic, num_resamples: int, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of a statistic; NaN where no resample has one."""
    rng = np.random.default_rng(seed)
    count = len(samples)
    values = []
    for _ in range(num_resamples):
        rows = rng.integers(count, size=count)
        value = statistic(samples[rows])
        if np.isfinite(value):
            values.append(value)
    if not values:
        return math.nan, math.nan
    low, high = np.quantile(np.array(values), QUANTILES_95)
    return float(low), float(high)


def proportion(successes: int, count: int) -> Estimate:
    """Return a share of successes with Wilson's interval, which is honest at 0 and at 1, too."""
    if count == 0:
        return UNMEASURED
    share = successes / count
    z_squared = DEVIATIONS_95**2
    scale = 1 + z_squared / count
    centre = (share + z_squared / (2 * count)) / scale
    variance = share * (1 - share) / count + z_squared / (4 * count**2)
    half_width = DEVIATIONS_95 * math.sqrt(variance) / scale
    low = max(0.0, centre - half_width)
    high = min(1.0, centre + half_width)
    return Estimate(value=share, low=low, high=high, count=count)


def paired_ratio(numerator: Estimate, denominator: Estimate) -> Estimate:
    """Return the ratio of two numbers, with its interval by the bootstrap over both at once.

    What is hard for one is hard for the other, so the ratio of two numbers of the same episodes is
    known far better than either. Where both are zero, the ratio is 1.

    Args:
        numerator: of the same samples in the same order.
        denominator: measured by the same statistic.
    """
    numerator_statistic = numerator.statistic
    denominator_statistic = denominator.statistic
    assert numerator.samples is not None
    assert denominator.samples is not None
    assert numerator_statistic is not None
    assert denominator_statistic is not None

    def ratio_of_statistics(rows: np.ndarray) -> float:
        above = numerator_statistic(rows[..., 0])
        below = denominator_statistic(rows[..., 1])
        if below:
            return above / below
        return 1.0 if above == below else math.nan

    samples = np.stack([numerator.samples, denominator.samples], -1)
    return estimate(samples, ratio_of_statistics)
