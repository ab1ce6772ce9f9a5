"""The metrics of some scores, in the order of the table of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streamdit_gym.evaluate.metric_kinds import Metric
from streamdit_gym.evaluate.metric_table import METRICS
from streamdit_gym.evaluate.schema import Scores
from streamdit_gym.evaluate.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class MeasuredMetric:
    """A metric of some scores.

    Attributes:
        metric: its kind.
        path: where it stands, without placeholders.
        label: what it says, without placeholders.
        estimate: the measurement.
        baseline: what to read it against.
    """

    metric: Metric
    path: str
    label: str
    estimate: Estimate
    baseline: Estimate | float | None

    @property
    def text(self) -> str:
        """The measurement and its baseline, for people."""
        unit = self.metric.unit
        text = unit.format_estimate(self.estimate)
        if self.baseline is None:
            return text
        if isinstance(self.baseline, Estimate):
            baseline_text = unit.format_estimate(self.baseline)
        else:
            baseline_text = unit.format_number(self.baseline)
        return f"{text}; {self.metric.baseline_label}: {baseline_text}"


def measured_metrics(scores: Scores) -> Iterator[MeasuredMetric]:
    """Yield every metric of the table that scores hold, in the table's order."""
    for metric in METRICS:
        for names in placeholder_values(metric.path, scores):
            path = metric.path.format(**names)
            estimate = look_up(scores, path)
            if estimate is None:
                continue
            yield MeasuredMetric(
                metric=metric,
                path=path,
                label=label_of(metric, names),
                estimate=estimate,
                baseline=_baseline(scores, metric, names),
            )


def label_of(metric: Metric, names: dict[str, str]) -> str:
    """Return a metric's label with its placeholders filled in."""
    return metric.label.format(**names).replace("_", " ")


def placeholder_values(path: str, scores: Scores, min_horizon: int = 0) -> list[dict[str, str]]:
    """Return what the placeholders of a path stand for: one dictionary for each metric."""
    odds = None if scores.diversity is None else scores.diversity.odds
    values = {
        "horizon": [str(row.horizon) for row in scores.fidelity if row.horizon >= min_horizon],
        "object": list(scores.drift.object_integrity),
        "number": list(scores.evaluator.numbers),
        "angle": list(scores.evaluator.angles),
        "dimension": list(scores.action.real_dimension_r),
        "outcome": [] if odds is None else list(odds.generated),
        "task": [] if scores.readout is None else list(scores.readout.tasks),
        "appearance": [] if scores.appearance is None else list(scores.appearance.rates),
    }
    combinations: list[dict[str, str]] = [{}]
    for name, names in values.items():
        if f"{{{name}}}" in path:
            combinations = [{**known, name: value} for known in combinations for value in names]
    return combinations


def look_up(scores: Scores, path: str) -> Any:
    """Return what stands at a path in scores; None if it was not measured.

    A part of a path is an attribute, a key, or the horizon of a row of ``fidelity``. Keys may hold
    dots: names of numbers and of dimensions come from users.
    """
    value: Any = scores
    rest = path
    while rest and value is not None:
        if isinstance(value, dict):
            part = _key_at_the_start(value, rest)
            value = value.get(part)
        else:
            part = rest.split(".", 1)[0]
            if isinstance(value, tuple):
                value = next((row for row in value if str(row.horizon) == part), None)
            else:
                value = getattr(value, part)
        rest = rest[len(part) + 1 :]
    return value


def _key_at_the_start(values: dict[str, Any], path: str) -> str:
    """Return the longest key that a path begins with; without any, its first part."""
    keys = [key for key in values if path == key or path.startswith(f"{key}.")]
    return max(keys, key=len, default=path.split(".", 1)[0])


def _baseline(scores: Scores, metric: Metric, names: dict[str, str]) -> Estimate | float | None:
    if metric.baseline is None:
        return None
    baseline: Estimate | float | None = look_up(scores, metric.baseline.format(**names))
    return baseline
