"""What follows from metrics: acceptance criteria, applied, and a student beside its teacher."""

from __future__ import annotations

from dataclasses import dataclass

from streamdit_gym.evaluate.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class CriterionResult:
    """An acceptance criterion, applied.

    Attributes:
        metric: path of the metric in `Scores`.
        label: what is measured.
        bound: what is asked for.
        estimate: the measurement; None if it was not made.
        passed: whether it is within the bound; None if it, or the bound, was not measured.
    """

    metric: str
    label: str
    bound: str
    estimate: Estimate | None
    passed: bool | None


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """A student's metric beside its teacher's.

    Attributes:
        metric: path of the metric in `Scores`.
        label: what is measured.
        student: the student's.
        teacher: the teacher's, of the same episodes.
        ratio: the first over the second.
        passed: whether the student is better, or worse within tolerance; None: too little evidence.
        clearly_worse: whether the whole interval is worse than the tolerance.
    """

    metric: str
    label: str
    student: Estimate
    teacher: Estimate
    ratio: Estimate
    passed: bool | None
    clearly_worse: bool


@dataclass(frozen=True, kw_only=True)
class TeacherComparison:
    """A student beside its teacher."""

    teacher: str
    rows: tuple[MetricComparison, ...]
