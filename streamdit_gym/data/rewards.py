"""The reward of every task of a world, from the scores of frames or from the environment."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from streamdit_gym.definition import EnvironmentTask, Task, WorldSpec


def task_rewards(
    spec: WorldSpec,
    before: Float[np.ndarray, "*b m"],
    after: Float[np.ndarray, "*b m"],
    own: Float[np.ndarray, "*b"],
) -> Float[np.ndarray, "*b k"]:
    """Return every task's reward for a step, tasks sorted by name.

    Args:
        spec: the world.
        before: scores of the frame before the step.
        after: scores of the frame after it.
        own: the environment's own reward of the step.
    """
    columns = [np.zeros((*after.shape[:-1], 0))]
    for name in sorted(spec.tasks):
        task = spec.tasks[name]
        reward = _potential_reward(spec, task, before, after) if isinstance(task, Task) else own
        columns.append(reward[..., None])
    return np.concatenate(columns, axis=-1).astype(np.float32)


def _potential_reward(
    spec: WorldSpec,
    task: Task,
    before: Float[np.ndarray, "*b m"],
    after: Float[np.ndarray, "*b m"],
) -> Float[np.ndarray, "*b"]:
    potential = spec.score_names.index(task.potential)
    success = spec.score_names.index(task.success)
    gain = after[..., potential] - before[..., potential]
    reward: Float[np.ndarray, "*b"] = task.reward(gain, after[..., success])
    return reward


def environment_task(spec: WorldSpec) -> tuple[int, EnvironmentTask] | None:
    """Return the column of the rewards that are the environment's own, and their task, if any."""
    for column, name in enumerate(sorted(spec.tasks)):
        task = spec.tasks[name]
        if isinstance(task, EnvironmentTask):
            return column, task
    return None
