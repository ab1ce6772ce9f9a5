"""Scores as one HTML file with all tables and pictures; it needs nothing from outside."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.data.film_strips import pairs_of_rows, rows_of_frames
from streamdit_gym.errors import require
from streamdit_gym.evaluate.diversity_schema import DiversityMetrics
from streamdit_gym.evaluate.outcomes import TeacherComparison
from streamdit_gym.evaluate.plots import (
    plot_fidelity,
    plot_policies,
    plot_reaction,
    plot_sweep,
)
from streamdit_gym.evaluate.report import (
    Table,
    comparison_summary,
    comparison_table,
    criteria_summary,
    criteria_table,
    horizon_table,
    overall_table,
)
from streamdit_gym.evaluate.schema import AppearanceMetrics, Scores
from streamdit_gym.evaluate.unmeasured import unmeasured

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto;
  padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
tr.passed td:first-child { color: #176c2c }
tr.failed td:first-child { color: #b3261e; font-weight: 600 }
img { max-width: 100%; image-rendering: pixelated }
img.plot { image-rendering: auto; max-width: 34rem }
p.note { color: #555 }
"""


def html_report(scores: Scores) -> str:
    """Return the page of an evaluation."""
    title = f"{html.escape(scores.world)}: evaluation"
    sections = [
        f"<h1>{title}</h1>",
        _summary(scores),
        _section("Failure modes", _list(scores.failure_modes or ("none found",))),
        _rollouts(scores),
        _long_stream(scores),
        _futures(scores.diversity),
        _appearance(scores.appearance),
        _section("Acceptance criteria", _criteria(scores)),
        _comparison(scores.comparison),
        _section("Over horizons", _table(horizon_table(scores)), _plots(scores)),
        _section("All other metrics", _table(overall_table(scores))),
        _section("Not measured", _list(tuple(unmeasured(scores)) or ("nothing",))),
    ]
    body = "\n".join(section for section in sections if section)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>{STYLE}</style></head><body>
{body}
</body></html>
"""


def _summary(scores: Scores) -> str:
    return (
        f"<p>{scores.episodes} held-out episodes, partition {html.escape(scores.partition)}."
        " Each is generated from one real frame and the prompted actions."
        f" Values with 95 % intervals. Acceptance criteria: {criteria_summary(scores)}.</p>"
    )


def _rollouts(scores: Scores) -> str:
    strips = scores.film_strips
    if strips is None:
        return ""
    note = "Every fourth frame. Upper row of each pair: real; lower row: generated."
    picture = _picture(pairs_of_rows(strips.real, strips.generated))
    return _section("Rollouts", _note(note), picture)


def _long_stream(scores: Scores) -> str:
    strip = scores.drift.film_strip
    if strip is None:
        return ""
    note = f"{len(strip)} of {scores.drift.frames} frames, evenly spaced."
    return _section("A long stream", _note(note), _picture(rows_of_frames(strip[None])))


def _futures(diversity: DiversityMetrics | None) -> str:
    if diversity is None or diversity.film_strip is None:
        return ""
    half = len(diversity.film_strip) // 2
    note = (
        f"Every second frame under the same actions. First {half} rows: real futures; the others:"
        " generated ones."
    )
    picture = _picture(rows_of_frames(diversity.film_strip))
    return _section("Futures of one start", _note(note), picture)


def _appearance(appearance: AppearanceMetrics | None) -> str:
    if appearance is None or appearance.film_strip is None:
        return ""
    note = (
        "Each row: a real first frame, then generated ones, ever further on."
        " The appearance is prompted once, with the first move."
    )
    prompts = "".join(f"<li>{html.escape(prompt)}</li>" for prompt in appearance.prompts)
    picture = _picture(rows_of_frames(appearance.film_strip))
    return _section("Unseen appearances", _note(note), f"<ol>{prompts}</ol>", picture)


def _criteria(scores: Scores) -> str:
    table = criteria_table(scores)
    classes = [row[0] for row in table]
    return _table(table, classes)


def _comparison(comparison: TeacherComparison | None) -> str:
    if comparison is None:
        return ""
    note = f"Comparison with {comparison_summary(comparison)}."
    return _section("Student and teacher", _note(note), _table(comparison_table(comparison)))


def _plots(scores: Scores) -> str:
    plots = [plot_fidelity(scores)] if scores.fidelity else []
    if scores.reaction is not None:
        plots.append(plot_reaction(scores.reaction))
    if scores.sweep is not None and scores.sweep.dimensions:
        plots.append(plot_sweep(scores.sweep))
    if scores.policies is not None:
        plots.append(plot_policies(scores.policies))
    return "".join(_image(png, "plot") for png in plots)


def _section(title: str, *parts: str) -> str:
    return f"<h2>{title}</h2>{''.join(parts)}"


def _note(text: str) -> str:
    return f"<p class='note'>{html.escape(text)}</p>"


def _list(items: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"


def _table(table: Table, classes: list[str] | None = None) -> str:
    """Return a table; classes are those of its rows."""
    classes = [""] * len(table) if classes is None else classes
    rows = []
    for row, row_class in zip(table, classes, strict=True):
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        rows.append(f"<tr class='{row_class}'>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _picture(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    file = io.BytesIO()
    require("PIL.Image", "evaluate", "a picture").fromarray(pixels).save(file, "PNG")
    return _image(file.getvalue(), "")


def _image(png: bytes, image_class: str) -> str:
    data = base64.b64encode(png).decode()
    return f"<img class='{image_class}' alt='' src='data:image/png;base64,{data}'>"
