"""A student beside its teacher: every metric of one over the other's, over the same episodes."""

from __future__ import annotations

import numpy as np

from streamdit_gym.evaluate.measured_metrics import MeasuredMetric, measured_metrics
from streamdit_gym.evaluate.metric_kinds import Better
from streamdit_gym.evaluate.outcomes import MetricComparison, TeacherComparison
from streamdit_gym.evaluate.schema import Scores
from streamdit_gym.evaluate.statistics import Estimate, paired_ratio

MIN_EPISODES = 5  # one alone has an interval of no width
TOLERANCE = 0.05  # the part of its teacher's score by which a student may be worse


def compare(student: Scores, teacher: Scores, teacher_name: str) -> TeacherComparison:
    """Compare every metric that depends on the transformer.

    Args:
        student: its scores.
        teacher: the teacher's scores, on the same evidence.
        teacher_name: for people.
    """
    pairs = zip(directed_metrics(student), directed_metrics(teacher), strict=True)
    rows = [_compare(own, other) for own, other in pairs]
    return TeacherComparison(teacher=teacher_name, rows=tuple(rows))


def directed_metrics(scores: Scores) -> list[MeasuredMetric]:
    """Return the metrics with a better direction; others may be measured of the student alone."""
    return [each for each in measured_metrics(scores) if each.metric.better is not None]


def _compare(student: MeasuredMetric, teacher: MeasuredMetric) -> MetricComparison:
    better = student.metric.better
    assert better is not None
    ratio = paired_ratio(student.estimate, teacher.estimate)
    passed = None
    if ratio.is_measured and _num_measured_episodes(ratio) >= MIN_EPISODES:
        is_nearer = better == "nearer to 1" and _error_to_one(student) <= _error_to_one(teacher)
        passed = is_nearer or not _is_worse(ratio.value, ratio.value, better)
    return MetricComparison(
        metric=student.path,
        label=student.label,
        student=student.estimate,
        teacher=teacher.estimate,
        ratio=ratio,
        passed=passed,
        clearly_worse=not passed and _is_worse(ratio.low, ratio.high, better),
    )


def _num_measured_episodes(ratio: Estimate) -> int:
    """Return in how many episodes both numbers could be measured."""
    assert ratio.samples is not None
    is_measured = np.isfinite(ratio.samples).all(-1)
    return int(is_measured.reshape(ratio.count, -1).any(1).sum())


def _error_to_one(metric: MeasuredMetric) -> float:
    return abs(metric.estimate.value - 1)


def _is_worse(low: float, high: float, better: Better) -> bool:
    """Return whether an interval of ratios lies beyond the tolerance."""
    is_too_high = low > 1 + TOLERANCE
    is_too_low = high < 1 - TOLERANCE
    if better == "higher":
        return is_too_low
    if better == "lower":
        return is_too_high
    return is_too_low or is_too_high
