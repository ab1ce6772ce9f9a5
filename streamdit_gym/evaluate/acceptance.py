"""Acceptance criteria: a table of metrics and bounds, and what passes or fails.

Which rows a world gets follows from what was measured of it. A bound is a number, or follows from
another metric: a share of what real frames reach, or of what copying the first frame reaches.
Paths are those of `metric_table`. A world that ignores every prompt fails the rows of its actions,
and a world that stands still those of its motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from streamdit_gym.evaluate.measured_metrics import label_of, look_up, placeholder_values
from streamdit_gym.evaluate.metric_kinds import Metric
from streamdit_gym.evaluate.metric_table import METRICS_BY_PATH
from streamdit_gym.evaluate.outcomes import CriterionResult
from streamdit_gym.evaluate.schema import Scores
from streamdit_gym.evaluate.statistics import Estimate

MIN_POLICIES = 8  # of fewer, a correlation says little
MIN_COPY_HORIZON = 4  # before, hardly anything has moved
BOUNDS_HEIGHT = 64  # of the frames that bounds in pixels are for; of others they grow with it


@dataclass(frozen=True, kw_only=True)
class RelativeBound:
    """A bound that follows from another metric: ``times`` x its value + ``plus``.

    Attributes:
        metric: path of the other metric.
        times: share of it.
        plus: what is added.
        floor: what the bound is at least.
    """

    metric: str
    times: float = 1.0
    plus: float = 0.0
    floor: float = -math.inf


Bound = float | RelativeBound


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What a metric of a world worth trusting reaches.

    Attributes:
        metric: path in the table of metrics.
        at_least: lower bound, itself allowed.
        at_most: upper bound, itself allowed.
        at: what some of the path's placeholders stand for; others stand for all that was measured.
        min_horizon: smallest horizon at which it is asked.
        min_count: independent samples below which it stays open.
    """

    metric: str
    at_least: Bound | None = None
    at_most: Bound | None = None
    at: dict[str, str] = field(default_factory=dict)
    min_horizon: int = 0
    min_count: int = 1


def acceptance_criteria(scores: Scores) -> tuple[Criterion, ...]:
    """Return what is asked of a world, by what it names and by what it was measured against."""
    if scores.evaluator.state_error is None:
        frames = FRAME_CRITERIA
        drift = drift_criteria(0.8, 1.25)
    else:
        frames = object_criteria(scores.frame_size[0] / BOUNDS_HEIGHT)
        drift = drift_criteria(0.95, 1.05)
    return (*frames, *CONTROL_CRITERIA, *drift, *DIVERSITY_CRITERIA, *REWARD_CRITERIA)


def object_criteria(scale: float) -> tuple[Criterion, ...]:
    """Return what is asked of the frames of a world that names its actor and body.

    Args:
        scale: height of a frame, in `BOUNDS_HEIGHT`.
    """
    return (
        Criterion(metric="codec.actor_within_1px", at_least=0.99),
        Criterion(metric="codec.psnr_db", at_least=28),
        *_position_criteria(horizon=16, actor=1.5 * scale, body=2 * scale, degrees=10),
        *_position_criteria(horizon=64, actor=3 * scale, body=5 * scale, degrees=25),
        Criterion(
            metric="fidelity.{horizon}.psnr_db",
            at_least=RelativeBound(metric="fidelity.{horizon}.copy_psnr_db"),
            min_horizon=MIN_COPY_HORIZON,
        ),
    )


def _position_criteria(horizon: int, actor: float, body: float, degrees: float) -> list[Criterion]:
    """Return what is asked of positions and angles at a horizon.

    Most bodies hardly move, and then copying is as good; so those that moved count apart.
    """
    at = {"horizon": str(horizon)}
    errors = "fidelity.{horizon}.state_error"
    moved = "fidelity.{horizon}.moved_body"
    copied = "fidelity.{horizon}.copy_moved_body"
    copied_px = RelativeBound(metric=f"{copied}.body_px")
    copied_degrees = RelativeBound(metric=f"{copied}.body_degrees")
    return [
        Criterion(metric=f"{errors}.actor_px", at_most=actor, at=at),
        Criterion(metric=f"{errors}.body_px", at_most=body, at=at),
        Criterion(metric=f"{errors}.body_degrees", at_most=degrees, at=at),
        Criterion(metric=f"{moved}.body_px", at_most=copied_px, at=at),
        Criterion(metric=f"{moved}.body_degrees", at_most=copied_degrees, at=at),
    ]


def _number_criteria(horizon: int, times: float, share: float, degrees: float) -> list[Criterion]:
    """Return what is asked of the state's named numbers and angles at a horizon.

    Args:
        horizon: frames after the first.
        times: share of the error of copying that is allowed.
        share: of a number's deviation that is allowed in any case.
        degrees: of an angle that are allowed in any case.
    """
    at = {"horizon": str(horizon)}
    copied = "fidelity.{horizon}.copy"
    numbers = RelativeBound(metric=f"{copied}_numbers.{{number}}", times=times, floor=share)
    angles = RelativeBound(metric=f"{copied}_angles.{{angle}}", times=times, floor=degrees)
    return [
        Criterion(metric="fidelity.{horizon}.numbers.{number}", at_most=numbers, at=at),
        Criterion(metric="fidelity.{horizon}.angles.{angle}", at_most=angles, at=at),
    ]


def drift_criteria(at_least: float, at_most: float) -> tuple[Criterion, ...]:
    """Return what is asked of long streams."""
    return (
        Criterion(metric="drift.object_integrity.{object}", at_least=0.99),
        Criterion(metric="drift.sharpness.generated_over_real", at_least=at_least, at_most=at_most),
    )


FRAME_CRITERIA: tuple[Criterion, ...] = (
    Criterion(metric="codec.psnr_db", at_least=22),
    Criterion(metric="motion", at_least=0.5, at_most=2),
    Criterion(
        metric="fidelity.{horizon}.psnr_db",
        at_least=RelativeBound(metric="fidelity.{horizon}.copy_psnr_db", plus=1),
        min_horizon=MIN_COPY_HORIZON,
    ),
    Criterion(
        metric="fidelity.{horizon}.frame_psnr_db",
        at_least=RelativeBound(metric="fidelity.{horizon}.copy_frame_psnr_db", plus=0.5),
        at={"horizon": "16"},
    ),
    *_number_criteria(horizon=16, times=0.5, share=0.15, degrees=5),
    *_number_criteria(horizon=64, times=0.75, share=0.3, degrees=12),
)
DIVERSITY_CRITERIA: tuple[Criterion, ...] = (
    Criterion(metric="diversity.spread", at_least=0.75, at_most=1.25),
    Criterion(metric="diversity.unwanted_variation", at_most=0.1),
    Criterion(metric="diversity.sharpness", at_least=0.9, at_most=1.1),
    Criterion(metric="diversity.object_integrity.{object}", at_least=0.95),
    Criterion(
        metric="diversity.odds.distance",
        at_most=RelativeBound(metric="diversity.odds.noise_floor", plus=0.05),
    ),
    Criterion(
        metric="diversity.odds.unclear",
        at_most=RelativeBound(metric="diversity.odds.real_unclear", plus=0.02),
    ),
)
CONTROL_CRITERIA: tuple[Criterion, ...] = (
    Criterion(metric="action.action_fidelity", at_least=0.95),
    Criterion(metric="action.dimension_fidelity.{dimension}", at_least=0.95),
    Criterion(metric="action.other_actions_error_ratio", at_least=4),
    Criterion(metric="ablation.error_removed", at_least=0.3),
    Criterion(metric="sweep.dimensions.{dimension}.error", at_most=0.1),
    Criterion(metric="sweep.dimensions.{dimension}.backward", at_most=0.02),
    Criterion(
        metric="text.unseen_accuracy",
        at_least=RelativeBound(metric="action.real_inverse_dynamics_accuracy", times=0.9),
    ),
    Criterion(
        metric="appearance.rates.{appearance}", at_least=0.9, at={"appearance": "all_after_4"}
    ),
)
REWARD_CRITERIA: tuple[Criterion, ...] = (
    Criterion(metric="readout.tasks.{task}.real_potential_r", at_least=0.95),
    Criterion(metric="readout.tasks.{task}.generated_potential_r", at_least=0.9),
    Criterion(metric="readout.tasks.{task}.real_false_success", at_most=0.02),
    Criterion(metric="readout.tasks.{task}.generated_false_success", at_most=0.02),
    Criterion(metric="outcome.real_reward_r", at_least=0.95),
    Criterion(metric="outcome.generated_reward_r", at_least=0.9),
    Criterion(metric="outcome.real_reward_residual_r", at_least=0.9),
    Criterion(metric="outcome.generated_reward_residual_r", at_least=0.8),
    Criterion(metric="outcome.real_false_ends", at_most=5),
    Criterion(metric="outcome.generated_false_ends", at_most=5),
    Criterion(metric="outcome.real_end_recall", at_least=0.8),
    Criterion(metric="outcome.real_end_odds", at_least=0.8, at_most=1.25),
    Criterion(metric="outcome.generated_end_odds", at_least=0.67, at_most=1.5),
    Criterion(metric="policies.pearson_r", at_least=0.9, min_count=MIN_POLICIES),
)


def check_criteria(scores: Scores) -> tuple[CriterionResult, ...]:
    """Apply every acceptance criterion about something that was measured."""
    return tuple(
        _check(scores, criterion, names)
        for criterion in acceptance_criteria(scores)
        for names in _places(criterion, scores)
        if look_up(scores, criterion.metric.format(**names)) is not None
    )


def _places(criterion: Criterion, scores: Scores) -> list[dict[str, str]]:
    """Return what the placeholders of a criterion stand for."""
    places = placeholder_values(criterion.metric, scores, criterion.min_horizon)
    return [names for names in places if criterion.at.items() <= names.items()]


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
    if not isinstance(bound, RelativeBound):
        return bound
    estimate: Estimate | None = look_up(scores, bound.metric.format(**names))
    if estimate is None or not estimate.is_measured:
        return math.nan
    return max(bound.times * estimate.value + bound.plus, bound.floor)


def _is_unmeasured(bound: float | None) -> bool:
    return bound is not None and math.isnan(bound)


def _is_within(value: float, at_least: float | None, at_most: float | None) -> bool:
    is_high_enough = at_least is None or value >= at_least
    is_low_enough = at_most is None or value <= at_most
    return is_high_enough and is_low_enough


def _bound_text(words: str, bound: Bound | None, value: float | None, metric: Metric) -> str:
    if value is None:
        return ""
    number = metric.unit.format_number(value)
    if not isinstance(bound, RelativeBound):
        return f"{words} {number}"
    if math.isnan(value):
        return f"{words} that of {metric.baseline_label}"
    if value == bound.floor:
        return f"{words} {number}"
    share = "" if bound.times == 1 else f"{bound.times:.0%} of "
    more = f" + {metric.unit.format_number(bound.plus)}" if bound.plus else ""
    return f"{words} {number} ({share}{metric.baseline_label}{more})"
