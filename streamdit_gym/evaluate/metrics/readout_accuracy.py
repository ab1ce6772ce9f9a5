"""How well the world's readout rewards: on real frames, and at the end of short rollouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import Task
from streamdit_gym.evaluate.candidate import action_prompts
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.schema import ReadoutMetrics, TaskReadoutMetrics
from streamdit_gym.evaluate.statistics import Estimate, correlation, estimate

TaskScores = Float[np.ndarray, "e f m"]


@dataclass(frozen=True, kw_only=True)
class ScorePairs:
    """Task scores that the world's readout gives, beside the true ones.

    Attributes:
        real: read off real frames.
        real_truth: the true ones of those frames.
        generated: read off generated frames of short episodes; the first frame is real.
        generated_truth: the true ones under the same actions.
    """

    real: TaskScores
    real_truth: TaskScores
    generated: TaskScores
    generated_truth: TaskScores


def readout_metrics(context: EvaluationContext, short: Shard) -> ReadoutMetrics | None:
    """Compare the rewards that the readout gives with the true ones.

    Args:
        context: what is measured against what.
        short: many more real episodes, which the candidate rolls out.

    Returns:
        None for a world without a task that has a potential.
    """
    candidate = context.candidate
    tasks = {n: task for n, task in sorted(context.spec.tasks.items()) if isinstance(task, Task)}
    if not tasks:
        return None
    real = _masked(candidate.read(context.held_out.frames), context.is_frame)
    first = short.frames[:, :1]
    first_scores = candidate.read(first)
    rollout = candidate.roll_out(first, action_prompts(context.spec, short.actions))
    is_short_frame = np.arange(short.frames.shape[1]) <= short.lengths[:, None]
    pairs = ScorePairs(
        real=real,
        real_truth=context.held_out.scores,
        generated=_masked(np.concatenate([first_scores, rollout.scores], 1), is_short_frame),
        generated_truth=short.scores,
    )
    horizon = short.actions.shape[1]
    score_names = context.spec.score_names
    metrics = {
        name: _task_metrics(pairs, task, score_names, horizon) for name, task in tasks.items()
    }
    return ReadoutMetrics(horizon=horizon, tasks=metrics)


def _masked(scores: TaskScores, is_frame: Bool[np.ndarray, "e f"]) -> TaskScores:
    """Return scores, NaN in padding."""
    return np.where(is_frame[..., None], scores, np.nan)


def _task_metrics(
    pairs: ScorePairs, task: Task, score_names: tuple[str, ...], horizon: int
) -> TaskReadoutMetrics:
    column = score_names.index(task.potential)
    real = pairs.real[..., column]
    real_truth = pairs.real_truth[..., column]
    first = pairs.generated[:, 0, column]
    first_truth = pairs.generated_truth[:, 0, column]
    last = pairs.generated[:, horizon, column]
    last_truth = pairs.generated_truth[:, horizon, column]
    success = score_names.index(task.success)
    real_claims = pairs.real[..., success] > task.threshold
    real_successes = pairs.real_truth[..., success] > 0.5
    generated_claims = pairs.generated[:, 1:, success] > task.threshold
    generated_successes = pairs.generated_truth[:, 1:, success] > 0.5
    is_padding = np.isnan(real)
    is_generated_padding = np.isnan(pairs.generated[:, 1:, column])
    return TaskReadoutMetrics(
        real_potential_r=_correlation(real, real_truth),
        real_step_gain_r=_correlation(np.diff(real, axis=1), np.diff(real_truth, axis=1)),
        real_false_success=estimate(_false_claims(real_claims, real_successes | is_padding)),
        real_success_recall=estimate(np.where(real_successes & ~is_padding, real_claims, np.nan)),
        generated_potential_r=_correlation(last, last_truth),
        generated_gain_r=_correlation(last - first, last_truth - first_truth),
        generated_false_success=estimate(
            _false_claims(generated_claims, generated_successes | is_generated_padding)
        ),
    )


def _correlation(values: np.ndarray, truth: np.ndarray) -> Estimate:
    return estimate(np.stack([values, truth], -1), correlation)


def _false_claims(
    claims: Bool[np.ndarray, "e f"], successes: Bool[np.ndarray, "e f"]
) -> Float[np.ndarray, "e f"]:
    """Return 1 where a success is claimed that is none, 0 where rightly not.

    Where there is a success, the result is NaN.
    """
    return np.where(successes, np.nan, claims.astype(float))
