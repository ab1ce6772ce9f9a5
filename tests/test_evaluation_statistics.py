"""Numbers with intervals, and pixel metrics, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from streamdit_gym.evaluate.metrics.action_fidelity import other_actions
from streamdit_gym.evaluate.metrics.pixel_metrics import sharpness_and_level, ssim
from streamdit_gym.evaluate.metrics.policy_ranking import policy_metrics
from streamdit_gym.evaluate.schema import PolicyReturns
from streamdit_gym.evaluate.statistics import (
    correlation,
    estimate,
    mean,
    mean_maximum_rank_violation,
    median,
    paired_ratio,
    psnr,
    rank_correlation,
    ratio,
)


def test_the_bootstrap_interval_is_that_of_a_mean() -> None:
    samples = np.random.default_rng(0).normal(3, 2, 400)
    measured = estimate(samples, num_resamples=2000)
    assert measured.value == pytest.approx(samples.mean())
    width = measured.high - measured.low
    assert width == pytest.approx(2 * 1.96 * samples.std() / 20, rel=0.1)


def test_equal_numbers_share_a_rank() -> None:
    pairs = np.array([[1.0, 10], [2, 20], [2, 20], [3, 30]])
    assert rank_correlation(pairs) == pytest.approx(1)
    others = np.array([[1.0, 1], [2, 2], [2, 3], [3, 4]])
    swapped = others[[0, 2, 1, 3]]
    assert rank_correlation(others) == pytest.approx(rank_correlation(swapped))
    assert rank_correlation(others) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_ranks_do_not_depend_on_distances() -> None:
    numbers = np.arange(1.0, 9.0)
    assert rank_correlation(np.stack([numbers, numbers**5], -1)) == pytest.approx(1)
    assert rank_correlation(np.stack([numbers, -(numbers**5)], -1)) == pytest.approx(-1)


def test_a_ratio_of_the_same_samples_is_known_better_than_either() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.gamma(2, size=200)
    numerator = estimate(difficulty * rng.normal(1.1, 0.02, 200), median)
    denominator = estimate(difficulty * rng.normal(1.0, 0.02, 200), median)
    measured = paired_ratio(numerator, denominator)
    assert measured.value == numerator.value / denominator.value
    relative_width = (numerator.high - numerator.low) / numerator.value
    assert measured.high - measured.low < 0.5 * relative_width


def test_a_paired_ratio_resamples_both_at_once() -> None:
    rng = np.random.default_rng(0)
    numerator = estimate(rng.gamma(2, size=200), median)
    denominator = estimate(rng.gamma(2, size=200), median)
    measured = paired_ratio(numerator, denominator)
    assert numerator.samples is not None
    assert denominator.samples is not None
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(500):
        rows = rng.integers(200, size=200)
        ratios.append(np.median(numerator.samples[rows]) / np.median(denominator.samples[rows]))
    expected = tuple(np.quantile(ratios, [0.025, 0.975]))
    assert (measured.low, measured.high) == pytest.approx(expected)


def test_the_ratio_of_nothing_to_nothing_is_one() -> None:
    nothing = estimate(np.zeros(9))
    assert paired_ratio(nothing, nothing).value == 1
    assert not paired_ratio(estimate(np.ones(9)), nothing).is_measured


def test_statistics_equal_their_definitions() -> None:
    pairs = np.random.default_rng(1).normal(size=(30, 4, 2))
    expected = np.corrcoef(pairs[..., 0].ravel(), pairs[..., 1].ravel())[0, 1]
    assert correlation(pairs) == pytest.approx(expected)
    assert np.isnan(correlation(np.zeros((5, 2))))
    assert ratio(np.array([[1, 2], [3, 2]])) == 1
    assert psnr(np.array([[10.0, 2], [30.0, 2]])) == pytest.approx(10 * np.log10(255**2 / 10))
    assert mean(np.array([1, np.nan, 3])) == 2
    assert median(np.array([1, np.nan, 3, 9])) == 3
    assert np.isnan(mean(np.array([np.nan])))


def test_ssim_equals_its_slow_twin() -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.integers(0, 255, (1, 1, 10, 9, 3), dtype=np.uint8) for _ in range(2))
    x = a[0, 0].mean(-1)
    y = b[0, 0].mean(-1)
    values = [
        slow_ssim(x[i : i + 7, j : j + 7], y[i : i + 7, j : j + 7])
        for i in range(4)
        for j in range(3)
    ]
    assert ssim(a, b)[0, 0] == pytest.approx(np.mean(values), rel=1e-3)
    assert ssim(a, a)[0, 0] == pytest.approx(1)


def slow_ssim(p: np.ndarray, q: np.ndarray) -> float:
    """The structural similarity of one window."""
    c1 = 2.55**2
    c2 = 7.65**2
    covariance = ((p - p.mean()) * (q - q.mean())).mean()
    numerator = (2 * p.mean() * q.mean() + c1) * (2 * covariance + c2)
    return numerator / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (p.var() + q.var() + c2))


def test_sharpness_falls_with_blur() -> None:
    import cv2

    frame = np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(frame, (0, 0), 1)
    sharp, soft = sharpness_and_level(np.stack([frame, blurred]))[:, 0]
    assert soft < 0.5 * sharp


def test_other_actions_are_others() -> None:
    actions = np.arange(9).repeat(50)
    others = other_actions(actions, 9, np.random.default_rng(0))
    assert (others != actions).all()
    assert set(others) == set(range(9))


def test_policies_are_correlated() -> None:
    returns = {
        "a": PolicyReturns(generated=1.0, real=10.0),
        "b": PolicyReturns(generated=2.0, real=20.0),
        "c": PolicyReturns(generated=3.0, real=25.0),
    }
    metrics = policy_metrics(returns)
    assert metrics.rank_r.value == pytest.approx(1)
    assert 0.9 < metrics.pearson_r.value < 1
    assert metrics.mmrv is not None
    assert metrics.mmrv.value == 0


def test_wrongly_ranked_policies_count_by_how_far_apart_they_are() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        pairs = rng.normal(size=(6, 2)).round(1)
        worst = np.zeros(6)
        for i, j in np.ndindex(6, 6):
            ranked_lower = pairs[i, 0] < pairs[j, 0]
            is_lower = pairs[i, 1] < pairs[j, 1]
            if ranked_lower != is_lower:
                worst[i] = max(worst[i], abs(pairs[i, 1] - pairs[j, 1]))
        assert mean_maximum_rank_violation(pairs) == pytest.approx(worst.mean())
    assert np.isnan(mean_maximum_rank_violation(np.full((3, 2), np.nan)))
