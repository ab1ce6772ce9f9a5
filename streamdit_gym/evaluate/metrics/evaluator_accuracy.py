"""How well the evaluator itself reads real frames."""

from __future__ import annotations

from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext, median_errors
from streamdit_gym.evaluate.schema import EvaluatorAccuracy
from streamdit_gym.evaluate.statistics import estimate


def evaluator_accuracy(context: EvaluationContext) -> EvaluatorAccuracy:
    """Measure the evaluator on held-out real frames."""
    held_out = context.held_out
    errors = context.state_errors(held_out.frames, held_out.states)
    actions_match = context.models.actions_match(held_out.frames, held_out.actions)
    return EvaluatorAccuracy(
        state_error=median_errors(errors),
        actor_within_1px=estimate(errors.actor_px < 1),
        inverse_dynamics_accuracy=estimate(actions_match),
        object_integrity=context.object_integrity(held_out.frames),
    )
