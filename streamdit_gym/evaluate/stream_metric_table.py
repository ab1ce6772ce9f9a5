"""The part of the table of metrics about long streams, and about many futures of one start."""

from __future__ import annotations

from streamdit_gym.evaluate.metric_kinds import RATIO, SHARE, THREE_DECIMALS, Metric

LONG_STREAMS: tuple[Metric, ...] = (
    Metric(
        path="drift.sharpness.generated",
        label="long streams: sharpness at the end over the beginning",
        unit=THREE_DECIMALS,
        baseline="drift.sharpness.real",
        baseline_label="reference simulator",
    ),
    Metric(
        path="drift.sharpness.generated_over_real",
        label="long streams: change of sharpness, generated over real",
        unit=THREE_DECIMALS,
        better="nearer to 1",
    ),
    Metric(
        path="drift.level.generated",
        label="long streams: grey level at the end over the beginning",
        unit=THREE_DECIMALS,
        baseline="drift.level.real",
        baseline_label="reference simulator",
    ),
    Metric(
        path="drift.level.generated_over_real",
        label="long streams: change of grey level, generated over real",
        unit=THREE_DECIMALS,
        better="nearer to 1",
    ),
    Metric(
        path="drift.motion.generated",
        label="long streams: motion at the end over the beginning",
        unit=THREE_DECIMALS,
        baseline="drift.motion.real",
        baseline_label="reference simulator",
    ),
    Metric(
        path="drift.motion.generated_over_real",
        label="long streams: change of motion, generated over real",
        unit=THREE_DECIMALS,
        better="nearer to 1",
    ),
    Metric(
        path="drift.object_integrity.{object}",
        label="long streams: object integrity rate, {object}",
        unit=SHARE,
        better="higher",
    ),
    Metric(
        path="drift.end_object_integrity.{object}",
        label="long streams: object integrity rate at the end, {object}",
        unit=SHARE,
        better="higher",
    ),
)
DIVERSITY: tuple[Metric, ...] = (
    Metric(
        path="diversity.spread",
        label="futures of one start: how far they differ, generated over real",
        unit=RATIO,
        better="nearer to 1",
    ),
    Metric(
        path="diversity.unwanted_variation",
        label="futures of one start: how far they differ, where real ones do not, over all motion",
        unit=SHARE,
        better="lower",
    ),
    Metric(
        path="diversity.sharpness",
        label="futures of one start: sharpness where they differ, generated over real",
        unit=RATIO,
        better="nearer to 1",
    ),
    Metric(
        path="diversity.object_integrity.{object}",
        label="futures of one start: object integrity rate, {object}",
        unit=SHARE,
        better="higher",
        baseline="diversity.real_object_integrity.{object}",
        baseline_label="reference simulator",
    ),
    Metric(
        path="diversity.odds.generated.{outcome}",
        label="share of futures with the outcome: {outcome}",
        unit=SHARE,
        baseline="diversity.odds.real.{outcome}",
        baseline_label="reference simulator",
    ),
    Metric(
        path="diversity.odds.distance",
        label="outcomes: total variation distance of generated and real odds",
        unit=SHARE,
        better="lower",
        baseline="diversity.odds.noise_floor",
        baseline_label="two real samples",
    ),
    Metric(
        path="diversity.odds.unclear",
        label="share of futures whose outcome cannot be told, as in mixtures",
        unit=SHARE,
        better="lower",
        baseline="diversity.odds.real_unclear",
        baseline_label="reference simulator",
    ),
)
