"""What was not measured of a world, and why."""

from __future__ import annotations

from streamdit_gym.evaluate.schema import Scores


def unmeasured(scores: Scores) -> list[str]:
    """Return, for everything that was not measured, what it is and why."""
    return [*_unmeasured_frames(scores), *_unmeasured_control(scores), *_unmeasured_rewards(scores)]


def _unmeasured_frames(scores: Scores) -> list[str]:
    lines = []
    evaluator = scores.evaluator
    if evaluator.state_error is None:
        lines.append("places of objects: this world names no actor and no body")
    if not evaluator.object_integrity:
        lines.append("whether objects stay whole: this world names no objects")
    names = [*evaluator.numbers, *evaluator.angles]
    if not names and evaluator.state_error is None:
        lines.append("errors of states: this world names no numbers of a state")
    for name in unreadable(scores):
        lines.append(f"the error of {name}: the evaluator cannot read it off real frames")
    if not scores.drift.replayed:
        lines.append(
            "long streams against a simulator's: there is none that can start anywhere; they are"
            " held against the recordings' later frames"
        )
    return [*lines, *_unmeasured_diversity(scores)]


def _unmeasured_diversity(scores: Scores) -> list[str]:
    diversity = scores.diversity
    if diversity is None and not scores.simulated:
        return ["whether futures of one start differ as real ones do: there is no simulator"]
    if diversity is None:
        return ["whether futures of one start differ as real ones do"]
    if diversity.spread is not None and diversity.odds is None:
        return ["how often which outcome comes: this world names none"]
    return []


def unreadable(scores: Scores) -> list[str]:
    """Return the numbers and angles of the state that the evaluator cannot read off real frames."""
    if not scores.fidelity:
        return []
    row = scores.fidelity[0]
    names = [*scores.evaluator.numbers, *scores.evaluator.angles]
    return [name for name in names if name not in row.numbers and name not in row.angles]


def _unmeasured_control(scores: Scores) -> list[str]:
    lines = []
    if scores.episodes < 2:
        lines.append("what right actions are worth: there is no second held-out episode")
    if scores.reaction is None:
        lines.append(
            "how soon a new prompt shows: this world names no actor that a menu moves, or has no"
            " simulator that can start anywhere"
        )
    if scores.text is None:
        lines.append("how unseen phrases are followed: this world names none")
    if scores.sweep is None and scores.action.real_dimension_r:
        lines.append("whether control is continuous: this world has no simulator")
    return lines


def _unmeasured_rewards(scores: Scores) -> list[str]:
    lines = []
    if scores.readout is None and scores.outcome is None:
        lines.append("rewards and ends: this world has no task, or reads none")
    if scores.policies is None:
        lines.append("whether it ranks policies as the reference simulator does")
    return lines
