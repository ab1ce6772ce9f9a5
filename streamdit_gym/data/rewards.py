"""The reward of every task of a world, from the scores of frames."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from streamdit_gym.definition import WorldSpec


def task_rewards(
    spec: WorldSpec, before: Float[np.ndarray, "*b m"], after: Float[np.ndarray, "*b m"]
) -> Float[np.ndarray, "*b k"]:
    """Return every task's reward for a step, tasks sorted by name.

    Args:
        spec: the world.
        before: scores of the frame before the step.
        after: scores of the frame after it.
    """
    columns = [np.zeros((*after.shape[:-1], 0))]
    for name in sorted(spec.tasks):
        task = spec.tasks[name]
        potential = spec.score_names.index(task.potential)
        success = spec.score_names.index(task.success)
        gain = after[..., potential] - before[..., potential]
        reward = task.reward(gain, after[..., success])
        columns.append(reward[..., None])
    return np.concatenate(columns, axis=-1).astype(np.float32)
