"""Scores as people read them: a table, a page, a JSON.

Takes: scores.  Gives: text, one self-contained HTML file, plain data.  Knows nothing of: how the
    scores were measured.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.data.film_strips import pairs_of_rows
from streamdit_gym.errors import require
from streamdit_gym.evaluate.acceptance import Promise
from streamdit_gym.evaluate.comparison import WITHIN, Share
from streamdit_gym.evaluate.statistics import Estimate

Scores = dict[str, Any]


def plain(value: Any) -> Any:
    """Return scores as JSON can hold them: estimates become objects, pictures are left out,
    nan becomes null.
    """
    if isinstance(value, (Estimate, Promise, Share)):
        shown = {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if field.name not in ("samples", "statistic")
        }
        return plain(shown)
    if isinstance(value, dict):
        return {
            key: plain(item)
            for key, item in value.items()
            if not isinstance(item, np.ndarray) and key != "strip"
        }
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.generic, float)):
        number = value.item() if isinstance(value, np.generic) else value
        return None if isinstance(number, float) and math.isnan(number) else number
    return value


def horizon_table(scores: Scores) -> str:
    """Return the scores over horizons as a table that reads well as text and as Markdown."""
    names = [f"whole {name}" for name in scores["objects"]]
    head = ["frames", "generated, dB", "copy", "codec", "actor, px", "body, px", "angle, °", *names]
    rows = [head, ["---:"] * len(head)]
    for row in scores["fidelity"]:
        cells = [
            str(row["horizon"]),
            f"{row['generated_db']:.1f}",
            f"{row['copy_db'].value:.1f}",
            f"{row['codec_db'].value:.1f}",
        ]
        cells += [f"{row['actor_px']:.1f}", f"{row['body_px']:.1f}", f"{row['body_degrees']:.0f}"]
        rows.append(cells + [_share(row[f"whole_{name}"]) for name in scores["objects"]])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def lines(scores: Scores) -> Iterator[tuple[str, str]]:
    """Yield every other score as (what, how much)."""
    judge, codec, drift = scores["judge"], scores["codec"], scores["drift"]
    obedience, free = scores["obedience"], scores["free_text"]
    yield (
        "the judge's probe on real frames",
        f"actor {judge['actor_px']:.2f} px, body {judge['body_px']:.2f} px, {judge['body_degrees']:.1f}°",
    )
    yield "the judge's inverse model on real frames", _share(judge["readback"])
    yield "codec alone, moving pixels", f"{codec['moving_db']:.1f} dB"
    yield "codec alone, actor within 1 px", _share(codec["actor_within_1px"])
    yield "motion, share of the twin's", f"{scores['motion']:.2f}"
    yield (
        "action read-back",
        f"{_share(obedience['readback'])}; chance {100 * obedience['chance']:.0f} %",
    )
    yield "action read-back on real frames", _share(obedience["readback_real"])
    yield (
        "error on the actor's pixels, other actions / the true ones",
        f"{obedience['shuffled_over_true']:.1f}",
    )
    yield (
        "error on the actor's pixels, staying / the true actions",
        f"{obedience['zero_over_true']:.1f}",
    )
    yield (
        "read-back of unseen phrases",
        f"{_share(free['readback_unseen'])}; the menu's {_share(free['readback_menu'])}",
    )
    for name in ("sharpness", "level"):
        line = (
            f"{drift[f'{name}_last_over_first']:.3f}; the twin's {drift[f'{name}_of_the_twin']:.3f}"
        )
        yield f"a stream of {drift['frames']} frames: {name}, last 15 % / first", line
    for name in scores["objects"]:
        yield (
            f"the same: one whole {name}",
            f"{_share(drift[f'whole_{name}'])}; at its end {_share(drift[f'whole_{name}_at_the_end'])}",
        )
        yield f"one whole {name} on real frames", _share(judge[f"whole_{name}"])
    yield from _reaction_lines(scores)
    for name, found in scores.get("looks", {}).items():
        if not isinstance(found, Estimate):
            continue
        yield f"a look never seen is put on: {name.replace('_', ' ')} frames", _share(found)
    for row in scores["fidelity"]:
        if math.isnan(row["moved_body_px"].value):  # in so few frames it has moved nowhere
            continue
        place, angle = (f"{row[f'moved_{name}']:.1f}" for name in ("body_px", "body_degrees"))
        copied = f"{row['moved_copy_body_px'].value:.1f} px and {row['moved_copy_body_degrees'].value:.0f}°"
        yield (
            f"body after {row['horizon']} frames where it moved",
            f"{place} px, {angle}°; copying {copied}",
        )
    for task in scores["tasks"]:
        yield from _reward_lines(scores["reward"], task)
    if "policies" in scores:
        yield (
            "players' returns, world against twin: Pearson's r",
            f"{scores['policies']['pearson_r']:.2f}",
        )
        yield "the same: rank correlation", f"{scores['policies']['rank_r']:.2f}"


def _reaction_lines(scores: Scores) -> Iterator[tuple[str, str]]:
    reaction, speed = scores["reaction"], scores.get("speed", {"steps": []})
    for part in (50, 90):
        frames = [reaction[f"{place}_frames_to_{part}"] for place in ("generated", "real")]
        yield (
            f"frames until a new prompt has {part} % of its effect",
            f"{frames[0]}; in the twin {frames[1]}",
        )
        if speed["steps"] and frames[0]:
            yield (
                "the same in time, one environment",
                f"{frames[0] * speed['steps'][0]['p50_ms']:.0f} ms",
            )
    for row in speed["steps"]:
        step = f"step p50 {row['p50_ms']:.1f} ms, p95 {row['p95_ms']:.1f} ms"
        yield (
            f"speed, {row['envs']} environments",
            f"{row['steps_per_s']:.0f} env steps/s; {step}; {speed['hardware']}",
        )


def _reward_lines(reward: Scores, task: str) -> Iterator[tuple[str, str]]:
    potential = f"real {reward[f'{task}_potential_r_real']:.3f}; generated {reward[f'{task}_potential_r_generated']:.3f}"
    yield f"{task}: r of potential and truth, generated after {reward['horizon']} frames", potential
    gain = f"real {reward[f'{task}_step_r_real']:.3f}; generated {reward[f'{task}_gain_r_generated']:.3f}"
    yield (
        f"{task}: r of its gain and truth, over one real step and {reward['horizon']} generated ones",
        gain,
    )
    false = [_share(reward[f"{task}_false_success_{place}"]) for place in ("real", "generated")]
    yield f"{task}: false successes", f"real {false[0]}; generated {false[1]}"
    yield f"{task}: real successes seen", _share(reward[f"{task}_success_seen_real"])


def text(scores: Scores) -> str:
    """Return everything as text: what is wrong, the promises, the tables."""
    parts = [
        f"{scores['world']}, partition {scores.get('partition', '?')}, {scores['episodes']} held-out episodes; value [95 % interval]",
        "",
    ]
    parts += [f"FAULT  {fault}" for fault in scores["faults"]] or ["no fault found"]
    parts += ["", horizon_table(scores), ""]
    width = max(len(what) for what, _ in lines(scores))
    parts += [f"{what:{width}s}  {much}" for what, much in lines(scores)]
    parts += ["", "promises"]
    for promise in scores["promises"]:
        found = "not measured" if promise.found is None else f"{promise.found:.3g}"
        parts.append(
            f"  {_mark(promise.kept):7s} {promise.about}: {found} (asked: {promise.asked})"
        )
    if "beside" in scores:
        rows = list(beside_lines(scores["beside"]["shares"]))
        wide = [max(len(row[i]) for row in rows) for i in range(4)]
        parts += ["", _besides(scores["beside"])]
        parts += [
            "  "
            + "  ".join(
                f"{cell:{size}s}" for cell, size in zip(row, (*wide, 0), strict=True)
            ).rstrip()
            for row in rows
        ]
    return "\n".join(parts)


def beside_lines(shares: list[Share]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield a student's scores beside its teacher's: what, the student's, the teacher's, the share,
    and whether it will do.
    """
    yield "score", "student", "teacher", "share", ""
    for row in shares:
        share = "cannot be told" if row.kept is None else f"{row.share:.3f}"
        said = "" if row.kept else "worse" if row.clear else "worse, or by chance"
        yield (
            row.about,
            f"{row.student.value:.3g}",
            f"{row.teacher.value:.3g}",
            share,
            "" if row.kept is None else said,
        )


def _besides(found: Scores) -> str:
    known = [row for row in found["shares"] if row.kept is not None]
    worse = [row for row in known if not row.kept]
    clearly = sum(row.clear for row in worse)
    inside = (
        f"{len(known) - len(worse)} of {len(known)} scores better or within {100 * WITHIN:.0f} %"
    )
    return f"beside its teacher ({found['teacher']}), over the same episodes: {inside}; of the others {clearly} clearly worse"


def page(scores: Scores) -> str:
    """Return one HTML file with every score and picture; it needs nothing from outside."""
    world = html.escape(scores["world"])
    faults = (
        "".join(f"<li>{html.escape(fault)}</li>" for fault in scores["faults"])
        or "<li>none found</li>"
    )
    rows = "".join(
        f"<tr class='{_mark(p.kept)}'><td>{_mark(p.kept)}</td><td>{html.escape(p.about)}</td>"
        f"<td>{'' if p.found is None else html.escape(f'{p.found:.3g}')}</td><td>{html.escape(p.asked)}</td></tr>"
        for p in scores["promises"]
    )
    others = "".join(
        f"<tr><td>{html.escape(what)}</td><td>{html.escape(much)}</td></tr>"
        for what, much in lines(scores)
    )
    horizons = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(cell.strip())}</td>" for cell in line.strip("|").split("|"))
        + "</tr>"
        for i, line in enumerate(horizon_table(scores).splitlines())
        if i != 1
    )
    kept = sum(p.kept is True for p in scores["promises"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{world}, judged</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }}
td {{ padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }}
tr.kept td:first-child {{ color: #176c2c }} tr.missed td:first-child {{ color: #b3261e; font-weight: 600 }}
img {{ max-width: 100%; image-rendering: pixelated }} img.plot {{ image-rendering: auto; max-width: 34rem }} p.note {{ color: #555 }}
</style></head><body>
<h1>{world}, judged</h1>
<p>{scores["episodes"]} held-out episodes, partition {html.escape(scores["partition"])}; each is generated from one real frame and the
spoken actions. Values with 95 % intervals. {kept} of {len(scores["promises"])} promises kept.</p>
<h2>Faults</h2><ul>{faults}</ul>
<h2>Film strips</h2><p class="note">Every fourth frame. Upper row of each pair: the real simulator; lower row: generated.</p>
{_image(pairs_of_rows(scores["strip"]["real"], scores["strip"]["generated"]))}
<h2>A long stream</h2><p class="note">{scores["drift"]["frames"]} frames, 16 of them, evenly spaced.</p>
{_image(np.concatenate(list(scores["drift"]["strip"]), axis=1).repeat(2, 0).repeat(2, 1))}
{_looks(scores["looks"]) if "looks" in scores else ""}
<h2>Promises</h2><table>{rows}</table>
{_beside(scores["beside"]) if "beside" in scores else ""}
<h2>Over horizons</h2><table>{horizons}</table>
{_plot_horizons(scores)}{_plot_reaction(scores)}{_plot_policies(scores) if "policies" in scores else ""}
<h2>Everything else</h2><table>{others}</table>
</body></html>
"""


def _beside(found: Scores) -> str:
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>"
        for line in beside_lines(found["shares"])
    )
    return f"<h2>Student and teacher</h2><p class='note'>{html.escape(_besides(found))}.</p><table>{rows}</table>"


def _looks(looks: Scores) -> str:
    asked = "".join(f"<li>{html.escape(text)}</li>" for text in looks["asked"])
    rows = (
        np.concatenate([np.concatenate(list(row), axis=1) for row in looks["strip"]])
        .repeat(2, 0)
        .repeat(2, 1)
    )
    note = "Each row: a real first frame, then generated ones, the last far on; the look is said once, with the first move."
    return f"<h2>Looks never seen</h2><p class='note'>{note}</p><ol>{asked}</ol>{_image(rows)}"


def _share(found: Estimate) -> str:
    return (
        "cannot be told"
        if math.isnan(found.value)
        else f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    )


def _mark(kept: bool | None) -> str:
    return {True: "kept", False: "missed", None: "open"}[kept]


def _image(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    file = io.BytesIO()
    require("PIL.Image", "train", "a picture").fromarray(pixels).save(file, "PNG")
    return _embedded(file.getvalue(), "")


def _embedded(png: bytes, kind: str) -> str:
    return (
        f"<img class='{kind}' alt='' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"
    )


def _plot_horizons(scores: Scores) -> str:
    horizons = [row["horizon"] for row in scores["fidelity"]]

    def draw(axes: Any) -> None:
        for name, label in (
            ("actor_px", "actor"),
            ("body_px", "body"),
            ("copy_actor_px", "actor, copying"),
            ("copy_body_px", "body, copying"),
        ):
            found = [row[name] for row in scores["fidelity"]]
            (line,) = axes.plot(
                horizons,
                [f.value for f in found],
                "--" if "copy" in name else "-",
                marker="o",
                label=label,
            )
            axes.fill_between(
                horizons,
                [f.low for f in found],
                [f.high for f in found],
                color=line.get_color(),
                alpha=0.15,
            )
        axes.set(
            xscale="log", xlabel="frames after the real one", ylabel="median error, px of the frame"
        )
        axes.set_xticks(horizons, [str(h) for h in horizons])
        axes.legend()

    return _plot(draw)


def _plot_reaction(scores: Scores) -> str:
    def draw(axes: Any) -> None:
        for name in ("generated", "real"):
            curve = scores["reaction"][f"{name}_curve"]
            axes.plot(range(1, len(curve) + 1), curve, marker="o", label=name)
        axes.axhline(1, color="#999", lw=0.8)
        axes.set(
            xlabel="frames after the new prompt",
            ylabel="share of the final effect on the actor's speed",
        )
        axes.legend()

    return _plot(draw)


def _plot_policies(scores: Scores) -> str:
    played = scores["policies"]["players"]

    def draw(axes: Any) -> None:
        for name, (made, real) in played.items():
            axes.plot(real, made, "o", label=name)
        ends = [min(map(min, played.values())), max(map(max, played.values()))]
        axes.plot(ends, ends, "--", color="#999", lw=0.8)
        axes.set(
            xlabel="mean return in the real simulator", ylabel="mean return in the generated world"
        )
        axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))

    return _plot(draw)


def _plot(draw: Any) -> str:
    figure_class = require("matplotlib.figure", "demo", "a plot").Figure
    figure = figure_class(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    draw(figure.add_subplot())
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return _embedded(file.getvalue(), "plot")
