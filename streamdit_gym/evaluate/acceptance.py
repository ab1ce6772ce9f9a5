"""Acceptance criteria: a table of metrics and bounds, and what passes or fails.

A bound is a number, or the path of another metric. Paths are those of `metric_table`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from streamdit_gym.evaluate.measured_metrics import label_of, look_up, placeholder_values
from streamdit_gym.evaluate.metric_table import METRICS_BY_PATH, Metric
from streamdit_gym.evaluate.outcomes import CriterionResult
from streamdit_gym.evaluate.schema import Scores
from streamdit_gym.evaluate.statistics import Estimate

MIN_POLICIES = 8  # of fewer, a correlation says little
MIN_COPY_HORIZON = 4  # before, hardly anything has moved

Bound = float | str


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What a metric of a world worth trusting reaches.

    Attributes:
        metric: path in the table of metrics.
        at_least: lower bound, itself allowed.
        at_most: upper bound, itself allowed.
        at: what the path's placeholders stand for; default: everything that was measured.
        min_horizon: smallest horizon at which it is asked.
        min_count: independent samples below which it stays open.
    """

    metric: str
    at_least: Bound | None = None
    at_most: Bound | None = None
    at: dict[str, str] = field(default_factory=dict)
    min_horizon: int = 0
    min_count: int = 1


def _position_criteria(horizon: int, actor: float, body: float, degrees: float) -> list[Criterion]:
    """Return what is asked of positions and angles at a horizon.

    Most bodies hardly move, and then copying is as good; so those that moved count apart.
    """
    at = {"horizon": str(horizon)}
    errors = "fidelity.{horizon}.state_error"
    moved = "fidelity.{horizon}.moved_body"
    copied = "fidelity.{horizon}.copy_moved_body"
    return [
        Criterion(metric=f"{errors}.actor_px", at_most=actor, at=at),
        Criterion(metric=f"{errors}.body_px", at_most=body, at=at),
        Criterion(metric=f"{errors}.body_degrees", at_most=degrees, at=at),
        Criterion(metric=f"{moved}.body_px", at_most=f"{copied}.body_px", at=at),
        Criterion(metric=f"{moved}.body_degrees", at_most=f"{copied}.body_degrees", at=at),
    ]


CRITERIA: tuple[Criterion, ...] = (
    Criterion(metric="codec.actor_within_1px", at_least=0.99),
    Criterion(metric="codec.psnr_db", at_least=28),
    *_position_criteria(horizon=16, actor=1.5, body=2, degrees=10),
    *_position_criteria(horizon=64, actor=3, body=5, degrees=25),
    Criterion(
        metric="fidelity.{horizon}.psnr_db",
        at_least="fidelity.{horizon}.copy_psnr_db",
        min_horizon=MIN_COPY_HORIZON,
    ),
    Criterion(metric="action.action_fidelity", at_least=0.95),
    Criterion(metric="action.other_actions_error_ratio", at_least=4),
    Criterion(metric="text.unseen_ratio", at_least=0.9),
    Criterion(
        metric="appearance.rates.{appearance}", at_least=0.9, at={"appearance": "all_after_4"}
    ),
    Criterion(metric="drift.object_integrity.{object}", at_least=0.99),
    Criterion(metric="drift.sharpness.generated_over_real", at_least=0.95, at_most=1.05),
    Criterion(metric="readout.tasks.{task}.real_potential_r", at_least=0.95),
    Criterion(metric="readout.tasks.{task}.generated_potential_r", at_least=0.9),
    Criterion(metric="readout.tasks.{task}.real_false_success", at_most=0.02),
    Criterion(metric="readout.tasks.{task}.generated_false_success", at_most=0.02),
    Criterion(metric="policies.pearson_r", at_least=0.9, min_count=MIN_POLICIES),
)


def check_criteria(scores: Scores) -> tuple[CriterionResult, ...]:
    """Apply every acceptance criterion that concerns the world."""
    return tuple(
        _check(scores, criterion, names)
        for criterion in CRITERIA
        if _concerns(criterion, scores)
        for names in _places(criterion, scores)
    )


def _concerns(criterion: Criterion, scores: Scores) -> bool:
    """Return whether a criterion's family was measured; some worlds do not have every family."""
    family = criterion.metric.split(".")[0]
    return getattr(scores, family) is not None


def _places(criterion: Criterion, scores: Scores) -> list[dict[str, str]]:
    """Return what the placeholders of a criterion stand for."""
    if criterion.at:
        return [criterion.at]
    return placeholder_values(criterion.metric, scores, criterion.min_horizon)


def _check(scores: Scores, criterion: Criterion, names: dict[str, str]) -> CriterionResult:
    metric = METRICS_BY_PATH[criterion.metric]
    path = criterion.metric.format(**names)
    estimate: Estimate | None = look_up(scores, path)
    if estimate is not None and not _is_sufficient(estimate, criterion):
        estimate = None
    at_least = _bound_value(scores, criterion.at_least, names)
    at_most = _bound_value(scores, criterion.at_most, names)
    passed = None
    if estimate is not None and not _is_unmeasured(at_least) and not _is_unmeasured(at_most):
        passed = _is_within(estimate.value, at_least, at_most)
    bounds = [
        _bound_text("at least", criterion.at_least, at_least, metric),
        _bound_text("at most", criterion.at_most, at_most, metric),
    ]
    return CriterionResult(
        metric=path,
        label=label_of(metric, names),
        bound=" and ".join(bound for bound in bounds if bound),
        estimate=estimate,
        passed=passed,
    )


def _is_sufficient(estimate: Estimate, criterion: Criterion) -> bool:
    return estimate.is_measured and estimate.count >= criterion.min_count


def _bound_value(scores: Scores, bound: Bound | None, names: dict[str, str]) -> float | None:
    if not isinstance(bound, str):
        return bound
    estimate: Estimate | None = look_up(scores, bound.format(**names))
    return math.nan if estimate is None else estimate.value


def _is_unmeasured(bound: float | None) -> bool:
    return bound is not None and math.isnan(bound)


def _is_within(value: float, at_least: float | None, at_most: float | None) -> bool:
    is_high_enough = at_least is None or value >= at_least
    is_low_enough = at_most is None or value <= at_most
    return is_high_enough and is_low_enough


def _bound_text(words: str, bound: Bound | None, value: float | None, metric: Metric) -> str:
    if value is None:
        return ""
    if not isinstance(bound, str):
        return f"{words} {metric.unit.format_number(value)}"
    if math.isnan(value):
        return f"{words} that of {metric.baseline_label}"
    return f"{words} {metric.unit.format_number(value)} ({metric.baseline_label})"
