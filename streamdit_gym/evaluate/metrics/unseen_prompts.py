"""How phrases are followed that no training has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from streamdit_gym.evaluate.candidate import menu_prompts, sampled_prompts
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.schema import TextMetrics
from streamdit_gym.evaluate.statistics import estimate, ratio

STEPS = 16


def text_metrics(context: EvaluationContext) -> TextMetrics:
    """Compare how unseen phrases are followed with how the menu's are."""
    actions = context.held_out.actions[:, :STEPS]
    episodes = replace(context.held_out, actions=actions)
    menu = _accuracies(context, menu_prompts(context.spec, episodes))
    unseen = _accuracies(context, sampled_prompts(context.reference.evaluation.unseen, episodes))
    return TextMetrics(
        menu_accuracy=estimate(menu),
        unseen_accuracy=estimate(unseen),
        unseen_ratio=estimate(np.stack([unseen, menu], -1), ratio),
    )


def _accuracies(
    context: EvaluationContext, prompts: Sequence[Sequence[str]]
) -> Float[np.ndarray, " e"]:
    first = context.first_frames
    rollout = context.candidate.roll_out(first, prompts)
    frames = np.concatenate([first, rollout.frames], 1)
    actions = context.held_out.actions[:, :STEPS]
    matches = context.models.actions_match(frames, actions)
    return matches.mean(1)
