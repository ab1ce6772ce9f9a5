"""A student beside its teacher: every score of one as a share of the other's, over the same
episodes.

Takes: the scores of both.  Gives: shares with their intervals.  Knows nothing of: how the scores
    were measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamdit_gym.evaluate.statistics import Estimate, share

Scores = dict[str, Any]
FEWEST = 5  # episodes of which anything is said: one alone has an interval of no width
WITHIN = 0.05  # the part of its teacher's score by which a student may be worse
ABOUT = {
    "generated_db": "PSNR of moving pixels",
    "generated_ssim": "SSIM",
    "actor_px": "actor's place",
    "body_px": "body's place",
    "body_degrees": "body's angle",
    "moved_body_px": "body's place where it moved",
    "moved_body_degrees": "body's angle where it moved",
}


@dataclass(frozen=True, kw_only=True)
class Share:
    """A score of a student as a share of its teacher's.

    Attributes:
        about: what is measured.
        student: the student's score.
        teacher: the teacher's.
        share: the one over the other.
        kept: whether the student is better, or worse by no more than `WITHIN`; None if it cannot be
            told.
        clear: whether all of the interval is worse than that.
    """

    about: str
    student: Estimate
    teacher: Estimate
    share: Estimate
    kept: bool | None
    clear: bool


def beside(student: Scores, teacher: Scores) -> list[Share]:
    """Return every score that hangs on the transformer, beside the teacher's.

    Args:
        student: what `judge` found.
        teacher: what it found on the same evidence.
    """
    made = []
    for (about, own, better), (_, others, _) in zip(_rows(student), _rows(teacher), strict=True):
        of = share(own, others)
        measured = np.isfinite(of.samples).all(-1).reshape(of.count, -1).any(1).sum()
        nearer = not better and abs(own.value - 1) <= abs(others.value - 1)  # to what is real
        kept = (
            None
            if of.value != of.value or measured < FEWEST
            else nearer or not _worse(of.value, of.value, better)
        )
        made.append(
            Share(
                about=about,
                student=own,
                teacher=others,
                share=of,
                kept=kept,
                clear=not kept and _worse(of.low, of.high, better),
            )
        )
    return made


def _worse(low: float, high: float, better: int) -> bool:
    return (better <= 0 and low > 1 + WITHIN) or (better >= 0 and high < 1 - WITHIN)


def _rows(scores: Scores) -> Iterator[tuple[str, Estimate, int]]:
    """Yield what is measured, the score, and whether more of it is better (1), less (-1),
    or what is nearest to 1 (0).
    """
    for row in scores["fidelity"]:
        after = f"after {row['horizon']} frames"
        for name, about in ABOUT.items():
            yield f"{about} {after}", row[name], 1 if name.startswith("generated") else -1
        for name in scores["objects"]:
            yield f"one whole {name} {after}", row[f"whole_{name}"], 1
    yield "motion, share of the twin's", scores["motion"], 0
    yield "action read-back", scores["obedience"]["readback"], 1
    yield "error on the actor's pixels, next frame", scores["obedience"]["loss_true"], -1
    yield "the same under other actions, over it", scores["obedience"]["shuffled_over_true"], 1
    yield "the same staying, over it", scores["obedience"]["zero_over_true"], 1
    yield "read-back of the menu, 16 frames", scores["free_text"]["readback_menu"], 1
    yield "read-back of unseen phrases", scores["free_text"]["readback_unseen"], 1
    drift = scores["drift"]
    for name in ("sharpness", "level"):
        yield (
            f"a stream of {drift['frames']} frames: {name}, last over first, beside the twin's",
            drift[f"{name}_beside_the_twin"],
            0,
        )
    for name in scores["objects"]:
        yield f"the same: one whole {name}", drift[f"whole_{name}"], 1
        yield f"the same: one whole {name} at its end", drift[f"whole_{name}_at_the_end"], 1
    yield "a new prompt shows", scores["reaction"]["generated_obeys"], 1
    for task in scores["tasks"]:
        for name, about, better in (
            ("potential_r", "r of potential and truth", 1),
            ("gain_r", "r of its gain and truth", 1),
            ("false_success", "false successes", -1),
        ):
            yield (
                f"{task}: {about}, generated",
                scores["reward"][f"{task}_{name}_generated"],
                better,
            )
    for name, found in scores.get("looks", {}).items():
        if isinstance(found, Estimate):
            yield f"a look never seen is put on: {name.replace('_', ' ')} frames", found, 1
