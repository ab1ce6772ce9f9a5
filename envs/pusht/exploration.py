"""How training data explore PushT: random moves, noisy pushes of the T, drives across it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamdit_gym.data.random_actions import draw_held_action
from streamdit_gym.definition import Action
from streamdit_gym.envs.pusht.definition import MOVES
from streamdit_gym.envs.pusht.geometry import TABLE_UNITS, Point, block_middle
from streamdit_gym.envs.pusht.scripted_policy import nearest_move

# The exploration mode of an episode, with its probability.
MODES = {"random": 0.4, "push": 0.6}
RANDOM_ACTION_SHARE = 0.15  # of the actions in mode "push"
DRIVE_SHARE = 0.3  # of the plans; the others push the T
REACHED_UNITS = 16.0  # a waypoint that is nearer than this has been reached
BORDER_UNITS = 30.0  # waypoints stay this far inside the table


@dataclass
class Waypoint:
    """A place to head for, in units, and the most steps to spend on it."""

    place: Point
    steps_left: int


class ExplorationPolicy:
    """A policy that visits much of the world: it draws a mode per episode."""

    def __init__(self) -> None:
        self._mode = "random"
        self._outwards = False
        self._plan: list[Waypoint] = []
        self._held_action: Action = 0
        self._held_frames_left = 0

    def start_episode(self, rng: np.random.Generator, *, outwards: bool) -> None:
        """Draw the mode of an episode.

        Args:
            rng: draws it.
            outwards: whether pushes go towards the walls, not towards the middle of the table.
        """
        self._mode = str(rng.choice(list(MODES), p=list(MODES.values())))
        self._outwards = outwards
        self._plan = []
        self._held_action = 0
        self._held_frames_left = 0

    def action(self, rng: np.random.Generator, pusher: Point, block: Point, angle: float) -> Action:
        """Return the next action.

        Args:
            rng: draws it.
            pusher: where the pusher is, in units.
            block: where the T's origin is, in units.
            angle: the T's angle.
        """
        if self._mode == "random":
            return self._next_held_action(rng)
        if rng.random() < RANDOM_ACTION_SHARE:
            return self._random_action(rng)
        self._drop_finished_waypoints(pusher)
        if not self._plan:
            self._plan = self._new_plan(rng, pusher, block_middle(block, angle))
        waypoint = self._plan[0]
        waypoint.steps_left -= 1
        return self._action_towards(rng, waypoint.place - pusher)

    def _random_action(self, rng: np.random.Generator) -> Action:
        return int(rng.integers(len(MOVES)))

    def _action_towards(self, rng: np.random.Generator, offset: Point) -> Action:
        """Return the action that heads for an offset, in units."""
        return nearest_move(offset)

    def _next_held_action(self, rng: np.random.Generator) -> Action:
        if self._held_frames_left == 0:
            self._held_action, self._held_frames_left = draw_held_action(rng, len(MOVES))
        self._held_frames_left -= 1
        return self._held_action

    def _drop_finished_waypoints(self, pusher: Point) -> None:
        while self._plan:
            waypoint = self._plan[0]
            distance = np.linalg.norm(waypoint.place - pusher)
            if waypoint.steps_left > 0 and distance >= REACHED_UNITS:
                return
            self._plan.pop(0)

    def _new_plan(self, rng: np.random.Generator, pusher: Point, middle: Point) -> list[Waypoint]:
        if rng.random() < DRIVE_SHARE:
            return _plan_drive(rng, pusher, middle)
        return _plan_push(rng, pusher, middle, self._outwards)


def _plan_drive(rng: np.random.Generator, pusher: Point, middle: Point) -> list[Waypoint]:
    """Head for a point on the T and on past it, from wherever the pusher is."""
    target = middle + rng.normal(0, 45, 2)
    offset = target - pusher
    distance = np.linalg.norm(offset)
    direction = offset / (distance + 1e-6)
    overshoot = rng.uniform(0, 120)
    target = target + direction * overshoot
    return [_waypoint(rng, target, max_steps=28)]


def _plan_push(
    rng: np.random.Generator, pusher: Point, middle: Point, outwards: bool
) -> list[Waypoint]:
    """Go behind the T and push it towards the middle of the table, or away from it."""
    inwards = (TABLE_UNITS / 2 - middle) / 130
    wanted = -inwards if outwards else inwards
    direction = wanted + rng.normal(0, 0.7, 2)
    direction /= np.linalg.norm(direction) + 1e-6
    side = np.array([-direction[1], direction[0]])
    behind = middle - 115 * direction
    push_length = rng.uniform(0, 150)
    beyond = middle + push_length * direction
    places = [behind, beyond]
    offset = pusher - middle
    along = offset @ direction
    if along > -60:  # do not sweep the T away on the way behind it
        detour = 130 if offset @ side > 0 else -130
        places.insert(0, middle + detour * side)
    lever = rng.normal(0, 22) * side  # pushed beside its middle, the T turns
    return [_waypoint(rng, place + lever, max_steps=24) for place in places]


def _waypoint(rng: np.random.Generator, place: Point, max_steps: int) -> Waypoint:
    inside = np.clip(place, BORDER_UNITS, TABLE_UNITS - BORDER_UNITS)
    steps = rng.integers(8, max_steps)
    return Waypoint(inside, int(steps))
