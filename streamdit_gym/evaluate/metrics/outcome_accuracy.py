"""How well the world reads the environment's own reward and end off its transitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from streamdit_gym.data.rewards import environment_task
from streamdit_gym.definition import EnvironmentTask
from streamdit_gym.evaluate.candidate import Outcomes
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.reward_residuals import reward_residual_r
from streamdit_gym.evaluate.schema import OutcomeMetrics
from streamdit_gym.evaluate.statistics import Estimate, correlation, estimate, ratio

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
    own = environment_task(context.spec)
    if own is None or generated is None:
        return None
    column, task = own
    held_out = context.held_out
    real = context.candidate.read_outcomes(held_out.frames, held_out.actions)
    if real is None:
        return None
    rewards = held_out.rewards[..., column]
    steps = min(STEPS, rewards.shape[1])
    early = slice(steps)
    is_step = context.is_step
    is_early_step = is_step[:, early]
    language = context.spec.actions
    metrics = OutcomeMetrics(
        horizon=steps,
        real_reward_r=_reward_r(real.rewards, rewards, is_step),
        generated_reward_r=_reward_r(generated.rewards[:, early], rewards[:, early], is_early_step),
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
    return _with_ends(metrics, context, task, real.ends, generated.ends)


def _with_ends(
    metrics: OutcomeMetrics,
    context: EvaluationContext,
    task: EnvironmentTask,
    real_probabilities: Float[np.ndarray, "e s"],
    probabilities: Float[np.ndarray, "e s"],
) -> OutcomeMetrics:
    """Return metrics with those of ends: by their odds where they are drawn, else one by one."""
    is_step = context.is_step
    early = slice(metrics.horizon)
    ends = _real_ends(context)
    if task.draws_ends:
        return replace(
            metrics,
            real_end_odds=end_odds(real_probabilities, ends, is_step),
            generated_end_odds=end_odds(probabilities, ends, is_step),
        )
    real_claims = real_probabilities > task.threshold
    claims = probabilities > task.threshold
    return replace(
        metrics,
        real_false_ends=_false_ends(real_claims, ends, is_step),
        generated_false_ends=_false_ends(claims[:, early], ends[:, early], is_step[:, early]),
        real_end_recall=estimate(np.where(ends, real_claims, np.nan)),
    )


def end_odds(
    probabilities: Float[np.ndarray, "e s"],
    ends: Bool[np.ndarray, "e s"],
    is_step: Bool[np.ndarray, "e s"],
) -> Estimate:
    """Return how many ends are expected for every one that came.

    The step before an episode's last one leads to its end; the last one shows what came of it, and
    does not count.

    Args:
        probabilities: of an end after each step.
        ends: the last steps of episodes that ended.
        is_step: what is a step, and not padding.
    """
    leads_to_end = np.pad(ends[:, 1:], ((0, 0), (0, 1)))
    pairs = np.stack([probabilities, leads_to_end], -1)
    return estimate(np.where((is_step & ~ends)[..., None], pairs, np.nan), ratio)


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
