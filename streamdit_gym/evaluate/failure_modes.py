"""Failure modes: a table of the ways in which a world plainly fails, by the numbers that show them.

A symptom looks at an end of an interval, so that chance alone does not make one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamdit_gym.evaluate.acceptance import MIN_COPY_HORIZON
from streamdit_gym.evaluate.evaluator_models import MIN_SKILL
from streamdit_gym.evaluate.measured_metrics import look_up, placeholder_values
from streamdit_gym.evaluate.schema import Scores

# a number, or the path of one
Bound = float | str


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """A number that shows that a world fails.

    Attributes:
        number: path of a number in `Scores`, such as an end of an estimate's interval.
        above: the number is above this bound.
        below: the number is below all of these bounds.
        min_horizon: smallest horizon at which it counts.
        also: other symptoms that must be there as well.
    """

    number: str
    above: Bound | None = None
    below: tuple[Bound, ...] = ()
    min_horizon: int = 0
    also: tuple[Symptom, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FailureMode:
    """A way for a world to fail, which any of its symptoms shows."""

    name: str
    symptoms: tuple[Symptom, ...]


# Futures of one start, see `DiversityMetrics`.
ARE_ALIKE = Symptom(number="diversity.spread.high", below=(0.5,))
DIFFER = Symptom(number="diversity.spread.high", above=0.5)
ARE_BLURRED = Symptom(number="diversity.blur", above=0.15)
ARE_SHARP = Symptom(number="diversity.blur", below=(0.15,))

FAILURE_MODES: tuple[FailureMode, ...] = (
    FailureMode(
        name="the evaluator is weak: its probe or its inverse-dynamics model errs on real frames",
        symptoms=(
            Symptom(number="evaluator.state_error.actor_px.value", above="max_actor_error_px"),
            Symptom(number="action.real_skill", below=(MIN_SKILL,)),
        ),
    ),
    FailureMode(
        name="frozen: frames hardly change",
        symptoms=(Symptom(number="motion.high", below=(0.2,)),),
    ),
    FailureMode(
        name="ignores actions: other prompts give the same frames",
        symptoms=(
            Symptom(number="action.other_actions_error_ratio.low", below=(1.1,)),
            Symptom(number="ablation.error_removed.high", below=(0.1,)),
        ),
    ),
    FailureMode(
        name="does not follow actions: they cannot be read off frames",
        symptoms=(
            Symptom(
                number="action.inverse_dynamics_accuracy.low",
                below=("action.twice_chance",),
            ),
            Symptom(number="action.dimension_fidelity.{dimension}.high", below=(0.5,)),
        ),
    ),
    FailureMode(
        name="worse than copying the first frame",
        symptoms=(
            Symptom(
                number="fidelity.{horizon}.psnr_db.high",
                below=("fidelity.{horizon}.copy_psnr_db.low",),
                min_horizon=MIN_COPY_HORIZON,
            ),
        ),
    ),
    FailureMode(
        name="drifts: the end of a long stream does not look like its beginning",
        symptoms=(
            Symptom(number="drift.sharpness.generated_over_real.low", above=1.1),
            Symptom(number="drift.sharpness.generated_over_real.high", below=(0.9,)),
            Symptom(number="drift.level.generated_over_real.low", above=1.1),
            Symptom(number="drift.level.generated_over_real.high", below=(0.9,)),
        ),
    ),
    FailureMode(
        name="dies: motion ends while a stream goes on",
        symptoms=(Symptom(number="drift.motion.generated_over_real.high", below=(0.7,)),),
    ),
    FailureMode(
        name="loses objects: they do not keep their shape and number",
        symptoms=(
            Symptom(
                number="drift.object_integrity.{object}.high",
                below=(0.9, "evaluator.object_integrity.{object}.low"),
            ),
        ),
    ),
    FailureMode(
        name="draws the mean: futures of one start are alike, and blurred where real ones differ",
        symptoms=(replace(ARE_ALIKE, also=(ARE_BLURRED,)),),
    ),
    FailureMode(
        name="draws one future only: futures of one start are alike, and sharp",
        symptoms=(replace(ARE_ALIKE, also=(ARE_SHARP,)),),
    ),
    FailureMode(
        name="mixes futures: single frames show several of them",
        symptoms=(replace(ARE_BLURRED, also=(DIFFER,)),),
    ),
    FailureMode(
        name="draws with other odds: outcomes do not come as often as real ones",
        symptoms=(Symptom(number="diversity.odds.excess", above=0.1),),
    ),
    FailureMode(
        name="varies without a cause: futures of one start differ, but real ones do not",
        symptoms=(Symptom(number="diversity.unwanted_variation.low", above=0.3),),
    ),
    FailureMode(
        name="claims success where there is none",
        symptoms=(
            Symptom(number="readout.tasks.{task}.real_false_success.low", above=0.02),
            Symptom(number="readout.tasks.{task}.generated_false_success.low", above=0.02),
        ),
    ),
    FailureMode(
        name="misreads rewards: they do not follow the environment's own",
        symptoms=(
            Symptom(number="outcome.real_reward_r.high", below=(0.5,)),
            Symptom(number="outcome.generated_reward_r.high", below=(0.5,)),
        ),
    ),
    FailureMode(
        name="misreads rewards beyond what the action alone explains",
        symptoms=(
            Symptom(number="outcome.real_reward_residual_r.high", below=(0.3,)),
            Symptom(number="outcome.generated_reward_residual_r.high", below=(0.3,)),
        ),
    ),
    FailureMode(
        name="ends episodes that go on",
        symptoms=(
            Symptom(number="outcome.real_false_ends.low", above=20),
            Symptom(number="outcome.generated_false_ends.low", above=20),
        ),
    ),
    FailureMode(
        name="misses success: its readout recognises less than half of the real ones",
        symptoms=(Symptom(number="readout.tasks.{task}.real_success_recall.high", below=(0.5,)),),
    ),
)


def failure_modes(scores: Scores) -> tuple[str, ...]:
    """Return the names of what is plainly wrong with a world; empty if nothing is."""
    return tuple(
        mode.name
        for mode in FAILURE_MODES
        if any(_is_present(symptom, scores) for symptom in mode.symptoms)
    )


def _is_present(symptom: Symptom, scores: Scores) -> bool:
    places = placeholder_values(symptom.number, scores, symptom.min_horizon)
    is_anywhere = any(_is_present_at(symptom, scores, names) for names in places)
    return is_anywhere and all(_is_present(other, scores) for other in symptom.also)


def _is_present_at(symptom: Symptom, scores: Scores, names: dict[str, str]) -> bool:
    number: float | None = look_up(scores, symptom.number.format(**names))
    if number is None:
        return False
    if symptom.above is not None:
        return number > _bound_value(symptom.above, scores, names)
    return all(number < _bound_value(bound, scores, names) for bound in symptom.below)


def _bound_value(bound: Bound, scores: Scores, names: dict[str, str]) -> float:
    if not isinstance(bound, str):
        return bound
    value: float = look_up(scores, bound.format(**names))
    return value
