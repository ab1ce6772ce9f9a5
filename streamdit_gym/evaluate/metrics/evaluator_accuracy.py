"""How well the evaluator itself reads real frames."""

from __future__ import annotations

from streamdit_gym.actions import SpokenBox
from streamdit_gym.evaluate.frame_schema import EvaluatorAccuracy
from streamdit_gym.evaluate.metrics.evaluation_context import (
    EvaluationContext,
    median_errors,
    medians,
    rates,
    share_within_1px,
)
from streamdit_gym.evaluate.statistics import Estimate, correlation, estimate


def evaluator_accuracy(context: EvaluationContext) -> EvaluatorAccuracy:
    """Measure the evaluator on held-out real frames."""
    frames = context.held_out.frames
    steps = frames.shape[1] - 1
    errors = context.real_errors
    accuracy = None
    dimension_r: dict[str, Estimate] = {}
    if isinstance(context.spec.actions, SpokenBox):
        pairs = context.dimension_pairs(frames, steps)
        dimension_r = {name: estimate(values, correlation) for name, values in pairs.items()}
    else:
        accuracy = estimate(context.action_matches(frames, steps))
    return EvaluatorAccuracy(
        state_error=median_errors(errors),
        actor_within_1px=share_within_1px(errors.actor_px),
        numbers=medians(errors.numbers),
        angles=medians(errors.angles),
        inverse_dynamics_accuracy=accuracy,
        inverse_dynamics_r=dimension_r,
        object_integrity=rates(context.object_integrity(frames)),
    )
