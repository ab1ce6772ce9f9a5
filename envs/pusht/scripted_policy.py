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
    distance = np.linalg.norm(offset)
    if distance < STEP_UNITS / 4:
        return 0
    directions = np.array(MOVES[1:], dtype=float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    nearest = np.argmax(directions @ offset)
    return 1 + int(nearest)


def scripted_actions(states: Float[np.ndarray, "n 6"], task: str) -> Int[np.ndarray, " n"]:
    """Return the scripted policy's action in each state; see `scripted_offsets`."""
    return np.array([nearest_move(offset) for offset in scripted_offsets(states, task)])


def scripted_offsets(states: Float[np.ndarray, "n 6"], task: str) -> Points:
    """Return how far the place that the script heads for is from the pusher, in units.

    Task ``reach``: straight at the T. Task ``push``: round behind the T, then towards its goal.

    Args:
        states: as `PushTSimulator.state` returns them.
        task: name of the task.
    """
    pusher = states[:, :2]
    target = _middles(states)
    if task != "reach":
        target = _push_targets(pusher, target)
    return (target - pusher) * UNITS_PER_PX


def _middles(states: Float[np.ndarray, "n 6"]) -> Points:
    """Return the T's centre of gravity in px."""
    lever = BLOCK_CENTRE_UNITS[1] / UNITS_PER_PX
    positions = states[:, 2:4]
    cosine = states[:, 4]
    sine = states[:, 5]
    stem_directions = np.stack([-sine, cosine], -1)
    return positions + lever * stem_directions


def _push_targets(pusher: Points, middle: Points) -> Points:
    """Return where to head for so as to push the T to its goal, all in px."""
    to_goal = GOAL_MIDDLE_PX - middle
    distance = np.linalg.norm(to_goal, axis=1, keepdims=True)
    direction = to_goal / (distance + 1e-6)
    side = np.stack([-direction[:, 1], direction[:, 0]], -1)
    offset = pusher - middle
    along = (offset * direction).sum(1, keepdims=True)
    beside = (offset * side).sum(1, keepdims=True)
    behind = middle - 14 * direction
    detour = np.where(beside > 0, 16, -16)
    around = middle + detour * side - 6 * direction
    is_off_line = np.abs(beside) > 4
    from_behind = np.where(is_off_line, behind, GOAL_MIDDLE_PX)
    is_in_front = along > -4
    return np.where(is_in_front, around, from_behind)
