"""A scripted policy for PushT: it reads the state and heads for the T or for its goal."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from streamdit_gym.envs.pusht.definition import MOVES
from streamdit_gym.envs.pusht.geometry import BLOCK_CENTRE_UNITS, GOAL_MIDDLE_PX, UNITS_PER_PX

STEP_UNITS = 48.0  # how far ahead of the pusher a move sets its target; some 3 px a step

Points = Float[np.ndarray, "n 2"]


def nearest_move(offset: Float[np.ndarray, " 2"]) -> int:
    """Return the menu action nearest in direction to an (x, y) offset in units.

    An offset that is shorter than a quarter of a step's target means to stay.
    """
    if np.linalg.norm(offset) < STEP_UNITS / 4:
        return 0
    directions = np.array(MOVES[1:], dtype=float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return 1 + int(np.argmax(directions @ offset))


def scripted_actions(states: Float[np.ndarray, "n 6"], task: str) -> Int[np.ndarray, " n"]:
    """Return the scripted policy's action in each state.

    Task ``reach``: straight at the T. Task ``push``: round behind the T, then towards its goal.

    Args:
        states: as `PushTSimulator.state` returns them.
        task: name of the task.
    """
    pusher = states[:, :2]
    target = _middles(states)
    if task != "reach":
        target = _push_targets(pusher, target)
    offsets = (target - pusher) * UNITS_PER_PX
    return np.array([nearest_move(offset) for offset in offsets])


def _middles(states: Float[np.ndarray, "n 6"]) -> Points:
    """Return the T's centre of gravity in px."""
    lever = BLOCK_CENTRE_UNITS[1] / UNITS_PER_PX
    return states[:, 2:4] + lever * np.stack([-states[:, 5], states[:, 4]], -1)


def _push_targets(pusher: Points, middle: Points) -> Points:
    """Return where to head for so as to push the T to its goal, all in px."""
    direction = GOAL_MIDDLE_PX - middle
    direction = direction / (np.linalg.norm(direction, axis=1, keepdims=True) + 1e-6)
    side = np.stack([-direction[:, 1], direction[:, 0]], -1)
    offset = pusher - middle
    along = (offset * direction).sum(1, keepdims=True)
    beside = (offset * side).sum(1, keepdims=True)
    behind = middle - 14 * direction
    around = middle + np.where(beside > 0, 16, -16) * side - 6 * direction
    from_behind = np.where(np.abs(beside) > 4, behind, GOAL_MIDDLE_PX)
    return np.where(along > -4, around, from_behind)
