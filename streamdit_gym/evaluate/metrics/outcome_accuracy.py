"""How well the world reads the environment's own reward and end off its transitions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from streamdit_gym.definition import EnvironmentTask
from streamdit_gym.evaluate.candidate import Outcomes
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.reward_residuals import reward_residual_r
from streamdit_gym.evaluate.schema import OutcomeMetrics
from streamdit_gym.evaluate.statistics import Estimate, correlation, estimate

STEPS = 16  # later on, small errors of positions have grown
PER_THOUSAND = 1000.0


def outcome_metrics(
    context: EvaluationContext, generated: Outcomes | None
) -> OutcomeMetrics | None:
    """Compare rewards and ends that the world reads with the environment's own.

    Args:
        context: what is measured against what.
        generated: read in rollouts under the held-out episodes' actions.

    Returns:
        None for a world without such a task, or one that reads none.
    """
    task = environment_task(context)
    if task is None or generated is None:
        return None
    held_out = context.held_out
    real = context.candidate.read_outcomes(held_out.frames, held_out.actions)
    if real is None:
        return None
    name, threshold = task
    column = sorted(context.spec.tasks).index(name)
    rewards = held_out.rewards[..., column]
    steps = min(STEPS, rewards.shape[1])
    early = slice(steps)
    is_step = context.is_step
    is_early_step = is_step[:, early]
    language = context.spec.actions
    ends = _real_ends(context)
    real_claims = real.ends > threshold
    claims = generated.ends > threshold
    return OutcomeMetrics(
        horizon=steps,
        real_reward_r=_reward_r(real.rewards, rewards, is_step),
        generated_reward_r=_reward_r(generated.rewards[:, early], rewards[:, early], is_early_step),
        real_false_ends=_false_ends(real_claims, ends, is_step),
        generated_false_ends=_false_ends(claims[:, early], ends[:, early], is_early_step),
        real_end_recall=estimate(np.where(ends, real_claims, np.nan)),
        real_reward_residual_r=reward_residual_r(
            real.rewards, rewards, is_step, held_out.actions, language
        ),
        generated_reward_residual_r=reward_residual_r(
            generated.rewards[:, early],
            rewards[:, early],
            is_early_step,
            held_out.actions[:, early],
            language,
        ),
    )


def environment_task(context: EvaluationContext) -> tuple[str, float] | None:
    """Return name and threshold of the first task whose reward is the environment's own."""
    for name, task in context.spec.tasks.items():
        if isinstance(task, EnvironmentTask):
            return name, task.threshold
    return None


def _real_ends(context: EvaluationContext) -> Bool[np.ndarray, "e s"]:
    steps = np.arange(context.is_step.shape[1])
    is_last = steps == context.held_out.lengths[:, None] - 1
    return is_last & context.held_out.terminated[:, None]


def _reward_r(
    read: Float[np.ndarray, "e s"],
    true: Float[np.ndarray, "e s"],
    is_step: Bool[np.ndarray, "e s"],
) -> Estimate:
    pairs = np.where(is_step[..., None], np.stack([read, true], -1), np.nan)
    return estimate(pairs, correlation)


def _false_ends(
    claims: Bool[np.ndarray, "e s"],
    ends: Bool[np.ndarray, "e s"],
    is_step: Bool[np.ndarray, "e s"],
) -> Estimate:
    goes_on = is_step & ~ends
    return estimate(np.where(goes_on, PER_THOUSAND * claims, np.nan))
