"""What the scores mean: promises kept or missed, and the ways to be wrong called by their names.

Takes: scores.  Gives: promises and faults.  Knows nothing of: how the scores were measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamdit_gym.evaluate.statistics import Estimate

Scores = dict[str, Any]
PLAYERS = 8  # of fewer, the correlation says little: it is printed, and the promise stays open


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A number that a world worth trusting reaches.

    Attributes:
        about: what is measured.
        asked: the bound, for people.
        found: the measurement, or None if it was not made.
        kept: whether it is within the bound; None if it was not measured.
    """

    about: str
    asked: str
    found: Estimate | None
    kept: bool | None


def promises(scores: Scores) -> list[Promise]:
    """Return every promise with what was found."""
    rows = {row["horizon"]: row for row in scores["fidelity"]}
    made: list[Promise] = []

    def ask(
        about: str,
        found: Estimate | None,
        least: float | None = None,
        most: float | None = None,
        unit: str = "",
    ) -> None:
        if found is not None and found.value != found.value:  # nan: nothing to measure
            found = None
        kept = (
            None
            if found is None
            else (least is None or found.value >= least) and (most is None or found.value <= most)
        )
        bounds = (("at least", least), ("at most", most))
        asked = " and ".join(
            f"{word} {bound:.3g}{unit}" for word, bound in bounds if bound is not None
        )
        made.append(Promise(about=about, asked=asked, found=found, kept=kept))

    ask(
        "codec: share of frames with the actor within 1 px",
        scores["codec"]["actor_within_1px"],
        least=0.99,
    )
    ask("codec: PSNR of moving pixels", scores["codec"]["moving_db"], least=28, unit=" dB")
    for horizon, actor, body, degrees in ((16, 1.5, 2, 10), (64, 3, 5, 25)):
        row = rows.get(horizon, {})
        ask(
            f"actor's place after {horizon} frames (median)",
            row.get("actor_px"),
            most=actor,
            unit=" px",
        )
        ask(
            f"body's place after {horizon} frames (median)",
            row.get("body_px"),
            most=body,
            unit=" px",
        )
        ask(
            f"body's angle after {horizon} frames (median)",
            row.get("body_degrees"),
            most=degrees,
            unit="°",
        )
        # most bodies are hardly moved, and then copying is as good
        for name, what, unit in (("body_px", "place", " px"), ("body_degrees", "angle", "°")):
            copied = row.get(f"moved_copy_{name}")
            asked = copied.value if copied is not None else 0.0
            ask(
                f"body's {what} after {horizon} frames where it moved, nearer than copying",
                row.get(f"moved_{name}"),
                most=asked,
                unit=unit,
            )
    for horizon, row in rows.items():
        if horizon >= 4:
            ask(
                f"PSNR after {horizon} frames, above copying",
                row["generated_db"],
                least=row["copy_db"].value,
                unit=" dB",
            )
    ask(
        "action read-back, share of that on real frames",
        scores["obedience"]["readback_share"],
        least=0.95,
    )
    ask(
        "error under other actions over error under the true ones, actor's pixels",
        scores["obedience"]["shuffled_over_true"],
        least=4,
    )
    ask(
        "free text: read-back of unseen phrases, share of the menu's",
        scores["free_text"]["unseen_share"],
        least=0.9,
    )
    if "looks" in scores:
        ask(
            "a look never seen, all of it put on after 4 frames",
            scores["looks"]["all_after_4"],
            least=0.9,
        )
    drift = scores["drift"]
    for name in scores["objects"]:
        ask(
            f"share of a stream of {drift['frames']} frames with one whole {name}",
            drift[f"whole_{name}"],
            least=0.99,
        )
    ask(
        "sharpness of a stream, last 15 % over first, beside the twin's",
        drift["sharpness_beside_the_twin"],
        least=0.95,
        most=1.05,
    )
    for task in scores["tasks"]:
        ask(
            f"{task}: r of potential and truth, real frames",
            scores["reward"][f"{task}_potential_r_real"],
            least=0.95,
        )
        ask(
            f"{task}: r of potential and truth, generated, 16 frames",
            scores["reward"][f"{task}_potential_r_generated"],
            least=0.9,
        )
        ask(
            f"{task}: false successes on real frames",
            scores["reward"][f"{task}_false_success_real"],
            most=0.02,
        )
        ask(
            f"{task}: false successes on generated frames",
            scores["reward"][f"{task}_false_success_generated"],
            most=0.02,
        )
    if "policies" in scores:
        enough = len(scores["policies"]["players"]) >= PLAYERS
        ask(
            "policy correlation, Pearson's r",
            scores["policies"]["pearson_r"] if enough else None,
            least=0.9,
        )
    return made


FAULTS: dict[str, Callable[[Scores], bool]] = {
    "the judge itself is weak: its probe or inverse model errs on real frames": lambda s: (
        s["judge"]["actor_px"].value > 1 or s["judge"]["readback"].value < 0.7
    ),
    "frozen: its frames hardly change": lambda s: s["motion"].high < 0.2,
    "ignores actions: other prompts give the same frames": lambda s: (
        s["obedience"]["shuffled_over_true"].low < 1.1
    ),
    "disobeys: actions cannot be read off its frames": lambda s: (
        s["obedience"]["readback"].low < 2 * s["obedience"]["chance"]
    ),
    "worse than copying the first frame": lambda s: any(
        row["generated_db"].high < row["copy_db"].low
        for row in s["fidelity"]
        if row["horizon"] >= 4
    ),
    "drifts: the end of a long stream does not look like its beginning": lambda s: any(
        s["drift"][f"{name}_beside_the_twin"].low > 1.1
        or s["drift"][f"{name}_beside_the_twin"].high < 0.9
        for name in ("sharpness", "level")
    ),
    "loses things: they do not stay whole": lambda s: any(
        s["drift"][f"whole_{name}"].high < min(0.9, s["judge"][f"whole_{name}"].low)
        for name in s["objects"]
    ),
    "sees success where there is none": lambda s: any(
        s["reward"][f"{task}_false_success_{where}"].low > 0.02
        for task in s["tasks"]
        for where in ("real", "generated")
    ),
    "misses success: its head sees less than half of the real ones": lambda s: any(
        s["reward"][f"{task}_success_seen_real"].high < 0.5 for task in s["tasks"]
    ),
}


def faults(scores: Scores) -> list[str]:
    """Return the names of what is plainly wrong with a world;
    none for one that the judge finds nothing wrong with.
    """
    return [name for name, wrong in FAULTS.items() if wrong(scores)]
