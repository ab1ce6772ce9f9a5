"""Scores as text: tables that read well in a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from streamdit_gym.evaluate.comparison import TOLERANCE
from streamdit_gym.evaluate.control_schema import ReactionMetrics
from streamdit_gym.evaluate.measured_metrics import look_up, measured_metrics
from streamdit_gym.evaluate.metric_kinds import (
    DECIBELS,
    DEGREES,
    PIXELS,
    SHARE,
    THREE_DECIMALS,
    Unit,
)
from streamdit_gym.evaluate.outcomes import MetricComparison, TeacherComparison
from streamdit_gym.evaluate.schema import Scores, SpeedMetrics
from streamdit_gym.evaluate.statistics import Estimate
from streamdit_gym.evaluate.unmeasured import unmeasured

Table = list[list[str]]

# heading, path at a horizon, unit
HORIZON_COLUMNS: tuple[tuple[str, str, Unit], ...] = (
    ("PSNR", "psnr_db", DECIBELS),
    ("PSNR of copying", "copy_psnr_db", DECIBELS),
    ("PSNR of the codec", "codec_psnr_db", DECIBELS),
    ("whole frames", "frame_psnr_db", DECIBELS),
    ("whole frames, copying", "copy_frame_psnr_db", DECIBELS),
    ("SSIM", "ssim", THREE_DECIMALS),
    ("actor", "state_error.actor_px", PIXELS),
    ("body", "state_error.body_px", PIXELS),
    ("angle", "state_error.body_degrees", DEGREES),
    ("body where it moved", "moved_body.body_px", PIXELS),
    ("angle where it moved", "moved_body.body_degrees", DEGREES),
)


def text_report(scores: Scores) -> str:
    """Return all scores as text: failure modes, tables, acceptance criteria."""
    parts = [
        f"{scores.world}, partition {scores.partition}, {scores.episodes} held-out episodes;"
        " value [95 % interval]",
        "",
        *(f"FAILURE  {name}" for name in scores.failure_modes),
    ]
    if not scores.failure_modes:
        parts.append("no failure mode found")
    parts += ["", *aligned(horizon_table(scores))]
    parts += ["", *aligned(overall_table(scores))]
    parts += ["", *(f"not measured: {line}" for line in unmeasured(scores))]
    parts += ["", f"acceptance criteria: {criteria_summary(scores)}"]
    parts += [f"  {line}" for line in aligned(criteria_table(scores))]
    if scores.comparison is not None:
        parts += ["", f"comparison with its teacher, {comparison_summary(scores.comparison)}"]
        parts += [f"  {line}" for line in aligned(comparison_table(scores.comparison))]
    return "\n".join(parts)


def horizon_table(scores: Scores) -> Table:
    """Return how close rollouts stay to real frames, a row for each horizon.

    Columns are those of what was measured.
    """
    columns = [column for column in _horizon_columns(scores) if _is_measured(scores, column)]
    table = [["frames", *(heading for heading, _, _ in columns)]]
    for row in scores.fidelity:
        cells = [str(row.horizon)]
        for _, path, unit in columns:
            estimate: Estimate | None = look_up(scores, f"fidelity.{row.horizon}.{path}")
            cells.append("-" if estimate is None else unit.format_estimate(estimate))
        table.append(cells)
    return table


def _horizon_columns(scores: Scores) -> list[tuple[str, str, Unit]]:
    named = [(name, f"numbers.{name}", SHARE) for name in scores.evaluator.numbers]
    named += [(f"angle {name}", f"angles.{name}", DEGREES) for name in scores.evaluator.angles]
    if scores.evaluator.state_error is not None:
        named = []  # actor and body say the same in pixels
    objects = list(scores.drift.object_integrity)
    integrity = [(f"integrity, {name}", f"object_integrity.{name}", SHARE) for name in objects]
    return [*HORIZON_COLUMNS, *named, *integrity]


def _is_measured(scores: Scores, column: tuple[str, str, Unit]) -> bool:
    _, path, _ = column
    return any(
        look_up(scores, f"fidelity.{row.horizon}.{path}") is not None for row in scores.fidelity
    )


def overall_table(scores: Scores) -> Table:
    """Return all scores that do not depend on a horizon: what, how much."""
    rows = [
        [metric.label, metric.text]
        for metric in measured_metrics(scores)
        if not metric.path.startswith("fidelity.")
    ]
    rows.append(["long streams: how many, and frames of each", _stream_text(scores)])
    if scores.readout is not None:
        rows.append(["short rollouts of the readout: frames", str(scores.readout.horizon)])
    if scores.reaction is not None:
        rows += _reaction_rows(scores.reaction, scores.speed)
    if scores.speed is not None:
        rows += _speed_rows(scores.speed)
    return rows


def criteria_table(scores: Scores) -> Table:
    """Return the acceptance criteria: passed or failed, what, how much, the bound."""
    units = {metric.path: metric.metric.unit for metric in measured_metrics(scores)}
    table = []
    for result in scores.criteria:
        measured = "not measured"
        if result.estimate is not None:
            unit = units.get(result.metric, THREE_DECIMALS)
            measured = unit.format_estimate(result.estimate)
        table.append([outcome(result.passed), result.label, measured, result.bound])
    return table


def criteria_summary(scores: Scores) -> str:
    """Return how many acceptance criteria passed."""
    passed = sum(result.passed is True for result in scores.criteria)
    return f"{passed} of {len(scores.criteria)} passed"


def comparison_table(comparison: TeacherComparison) -> Table:
    """Return a student's metrics beside its teacher's."""
    table = [["metric", "student", "teacher", "ratio", ""]]
    for row in comparison.rows:
        ratio = "too little evidence" if row.passed is None else f"{row.ratio:.3f}"
        student = f"{row.student.value:.3g}"
        teacher = f"{row.teacher.value:.3g}"
        table.append([row.label, student, teacher, ratio, _comparison_outcome(row)])
    return table


def comparison_summary(comparison: TeacherComparison) -> str:
    """Return how many metrics of a student are as good as its teacher's."""
    compared = [row for row in comparison.rows if row.passed is not None]
    passed = sum(row.passed is True for row in compared)
    clearly_worse = sum(row.clearly_worse for row in compared)
    return (
        f"{comparison.teacher}, over the same episodes: {passed} of {len(compared)} metrics better"
        f" or within {100 * TOLERANCE:.0f} %; {clearly_worse} of the others clearly worse"
    )


def outcome(passed: bool | None) -> str:
    """Return what became of a criterion, in a word."""
    if passed is None:
        return "open"
    return "passed" if passed else "failed"


def markdown_table(table: Table) -> str:
    """Return a table with a heading as Markdown."""
    heading, *rows = table
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def aligned(table: Table) -> list[str]:
    """Return a table's rows as lines, their cells below each other."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _comparison_outcome(row: MetricComparison) -> str:
    if row.passed is not False:
        return ""
    return "worse" if row.clearly_worse else "worse, or by chance"


def _stream_text(scores: Scores) -> str:
    return f"{scores.drift.streams}, {scores.drift.frames}"


def _reaction_rows(reaction: ReactionMetrics, speed: SpeedMetrics | None) -> Iterator[list[str]]:
    generated = reaction.generated
    real = reaction.real
    for fraction, frames, real_frames in (
        ("50 %", generated.frames_to_50, real.frames_to_50),
        ("90 %", generated.frames_to_90, real.frames_to_90),
    ):
        label = f"frames until a new prompt has {fraction} of its effect"
        text = f"{_frames_text(frames)}; reference simulator: {_frames_text(real_frames)}"
        yield [label, text]
        if frames is not None and speed is not None:
            milliseconds = frames * speed.steps[0].p50_ms
            yield [f"{label}: time in one environment", f"{milliseconds:.0f} ms"]


def _frames_text(frames: int | None) -> str:
    return "never" if frames is None else str(frames)


def _speed_rows(speed: SpeedMetrics) -> Iterator[list[str]]:
    for row in speed.steps:
        yield [
            f"speed, {row.envs} environments",
            f"{row.steps_per_s:.0f} env steps/s; step p50 {row.p50_ms:.1f} ms,"
            f" p95 {row.p95_ms:.1f} ms; {speed.hardware}",
        ]
