"""Where PushT's things are when an episode starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from streamdit_gym.envs.pusht.definition import HARD_START, STARTS
from streamdit_gym.envs.pusht.geometry import (
    BLOCK_CENTRE_UNITS,
    FRAME_PX,
    MARGIN_UNITS,
    PUSHER_RADIUS_UNITS,
    TABLE_UNITS,
    UNITS_PER_PX,
    Point,
    block_limits,
    distance_to_block,
    nearest_free_place,
)
from streamdit_gym.errors import UnknownNameError

CORNERED_UNITS = 25.0  # how far from its wall a cornered T starts, on average
MAX_DISTANCE_PX = 12.0  # no pusher comes further in four steps

State = Float[np.ndarray, " 6"]


@dataclass(frozen=True)
class Poses:
    """Where the things are, in units and radians.

    Attributes:
        pusher: place of the pusher.
        block: place of the T's origin.
        angle: of the T.
    """

    pusher: Point
    block: Point
    angle: float


def draw_start_state(rng: np.random.Generator, start: str) -> Poses:
    """Draw where things are at the start of an episode.

    Args:
        rng: draws the places.
        start: ``uniform`` (as gym-pusht starts, but clear of walls and of each other),
            ``near_goal`` (the T near its goal), ``anywhere`` (walls included) or ``cornered`` (the
            T at a wall or two).

    Raises:
        UnknownNameError: for another start.
    """
    starts = (*STARTS, HARD_START)
    if start not in starts:
        raise UnknownNameError("start", start, starts)
    least, most = 50.0, 450.0
    if start in ("anywhere", HARD_START):
        least, most = MARGIN_UNITS, TABLE_UNITS - MARGIN_UNITS
    pusher = rng.uniform(least, most, 2)
    spread = rng.choice([0.03, 0.1, 0.5, 1.0])
    if start == "near_goal":
        angle = np.pi / 4 + rng.normal(0, 0.5 * spread)
    else:
        angle = rng.uniform(-np.pi, np.pi)
    block = _draw_block(rng, start, angle, spread)
    while distance_to_block(pusher, block, angle) < PUSHER_RADIUS_UNITS:  # not inside the T
        pusher = rng.uniform(least, most, 2)
    return Poses(pusher, block, angle)


def _draw_block(rng: np.random.Generator, start: str, angle: float, spread: float) -> Point:
    low, high = block_limits(angle)
    if start == "near_goal":
        block = np.array([256.0, 256.0]) + rng.normal(0, 40 * spread, 2)
    elif start == "uniform":
        block = rng.uniform(100, 400, 2)
    else:
        block = rng.uniform(low, high)
    if start == HARD_START:
        block = _move_to_walls(rng, block, low, high)
    return np.clip(block, low, high)


def _move_to_walls(rng: np.random.Generator, block: Point, low: Point, high: Point) -> Point:
    """Move a T to one wall, or into a corner."""
    both_walls = rng.random() < 0.5
    at_wall = rng.permutation([True, both_walls])
    inwards = rng.exponential(CORNERED_UNITS, 2)
    inwards = np.minimum(inwards, high - low)
    at_low_wall = rng.random(2) < 0.5
    place = np.where(at_low_wall, low + inwards, high - inwards)
    return np.where(at_wall, place, block)


def poses_from_states(
    before: State,
    state: State,
    last_intact: Mapping[str, State] | None = None,
) -> tuple[Poses, Poses]:
    """Return where things are in two states that follow each other, moved to where they can be.

    Args:
        before: as `PushTSimulator.state` returns it.
        state: likewise, one action later.
        last_intact: if the states were read from generated frames: for each thing the newest state
            in which it was intact, if there is one. A T that is deformed has three arms; its stem
            is the one nearest to where the stem was then. A pusher that would have come too far
            since then is not in the picture, and stays where it was. One that has been nowhere
            comes back in the corner that the T is not in.
    """
    if last_intact is None:
        last_intact = {"pusher": state, "T": state}
    last_pusher = last_intact.get("pusher", _free_corner(state))[:2]
    is_lost = (
        "pusher" not in last_intact or np.linalg.norm(state[:2] - last_pusher) > MAX_DISTANCE_PX
    )
    last_block = last_intact.get("T", state)
    poses = []
    for current in (before, state):
        block, angle = _upright(current, last_block)
        block = np.clip(block, *block_limits(angle))
        pusher_px = last_pusher if is_lost else current[:2]
        pusher = nearest_free_place(np.asarray(pusher_px) * UNITS_PER_PX, block, angle)
        poses.append(Poses(pusher, block, angle))
    return poses[0], poses[1]


def _free_corner(state: State) -> Point:
    """Return the corner of the table (px) that the T is not in."""
    far = TABLE_UNITS - MARGIN_UNITS
    is_near_origin = state[2:4] < FRAME_PX / 2
    corner = np.where(is_near_origin, far, MARGIN_UNITS)
    return corner / UNITS_PER_PX


def _upright(state: State, last_intact: State) -> tuple[Point, float]:
    """Return a T's place and angle in units.

    It is turned about its middle by thirds of a turn, to be nearest to its last certain angle.
    """
    angle = _angle(state)
    last_angle = _angle(last_intact)
    third = 2 * np.pi / 3
    num_thirds = round((last_angle - angle) / third)
    upright = angle + third * num_thirds
    position = np.asarray(state[2:4], float) * UNITS_PER_PX
    return position + _centre(angle) - _centre(upright), upright


def _angle(state: State) -> float:
    cosine = state[4]
    sine = state[5]
    return float(np.arctan2(sine, cosine))


def _centre(angle: float) -> Point:
    """Return the centre of gravity of a turned T, from its origin."""
    stem_direction = np.array([-np.sin(angle), np.cos(angle)])
    lever = BLOCK_CENTRE_UNITS[1]
    return lever * stem_direction
