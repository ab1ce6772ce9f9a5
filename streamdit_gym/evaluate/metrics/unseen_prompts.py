"""How phrases are followed that no training has seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from streamdit_gym.evaluate.candidate import Prompts, action_prompts, sampled_prompts
from streamdit_gym.evaluate.control_schema import TextMetrics
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext, means_over_steps
from streamdit_gym.evaluate.statistics import estimate, ratio

STEPS = 16


def text_metrics(context: EvaluationContext) -> TextMetrics | None:
    """Compare how unseen phrases are followed with how the menu's are.

    Returns:
        None for a world that names no unseen phrases.
    """
    unseen_phrases = context.adapter.unseen
    if not unseen_phrases:
        return None
    steps = min(STEPS, context.held_out.actions.shape[1])
    actions = context.held_out.actions[:, :steps]
    menu = _accuracies(context, action_prompts(context.spec, actions), steps)
    unseen = _accuracies(context, sampled_prompts(unseen_phrases, actions), steps)
    return TextMetrics(
        menu_accuracy=estimate(menu),
        unseen_accuracy=estimate(unseen),
        unseen_ratio=estimate(np.stack([unseen, menu], -1), ratio),
    )


def _accuracies(
    context: EvaluationContext, prompts: Prompts, steps: int
) -> Float[np.ndarray, " e"]:
    first = context.first_frames
    rollout = context.candidate.roll_out(first, prompts)
    frames = np.concatenate([first, rollout.frames], 1)
    return means_over_steps(context.action_matches(frames, steps))
