"""PushT's reference simulator: gym-pusht behind a menu of nine moves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.definition import Action
from streamdit_gym.envs.pusht.definition import HARD_START, MOVES, SPEC
from streamdit_gym.envs.pusht.exploration import ExplorationPolicy
from streamdit_gym.envs.pusht.geometry import (
    FRAME_PX,
    MARGIN_UNITS,
    PUSHER_RADIUS_UNITS,
    TABLE_UNITS,
    UNITS_PER_PX,
    Point,
)
from streamdit_gym.envs.pusht.physics import BlockMotion, add_thick_walls, gym_pusht_state
from streamdit_gym.envs.pusht.saved_state import (
    MAX_REPLAYED_ACTIONS,
    NUM_POSE_NUMBERS,
    check_saved,
)
from streamdit_gym.envs.pusht.scripted_policy import STEP_UNITS
from streamdit_gym.envs.pusht.start_states import Poses, draw_start_state, poses_from_states
from streamdit_gym.errors import ActionError, MissingExtraError

TOUCH_PX = 0.5  # a pusher that is nearer to the T than this touches it
AT_REST = [0.0, 0.0, 0.0]

Frame = UInt8[np.ndarray, "64 64 3"]
LargeFrame = UInt8[np.ndarray, "512 512 3"]


def _warn_of_pygame_ce() -> None:
    """Warn where pygame-ce, which VizDoom brings, has overwritten the files of pygame."""
    import pygame

    if getattr(pygame, "IS_CE", False):
        warnings.warn(
            "pygame-ce is installed over pygame, and draws PushT differently;"
            " pip install --force-reinstall --no-deps pygame",
            stacklevel=3,
        )


class PushTSimulator:
    """gym-pusht behind a menu of nine moves; `streamdit_gym.definition.Simulator` has the protocol.

    Raises:
        MissingExtraError: if gym-pusht is not installed.
    """

    spec = SPEC

    def __init__(self) -> None:
        try:
            from gym_pusht.envs import PushTEnv
        except ImportError as error:
            raise MissingExtraError("gym-pusht", "pusht", "the real PushT simulator") from error
        _warn_of_pygame_ce()
        self._env: Any = PushTEnv(
            obs_type="pixels",
            render_mode="rgb_array",
            observation_width=int(TABLE_UNITS),
            observation_height=int(TABLE_UNITS),
        )
        self._exploration = self._new_exploration()
        self._start_numbers: list[float] = []
        self._actions: list[Any] = []  # since the start
        self._coverage = 0.0  # share of the goal that the T covers

    def reset(self, rng: np.random.Generator, start: str = "uniform") -> Frame:
        """Start an episode and return its first frame.

        Args:
            rng: draws where things are, and the exploration mode.
            start: see `start_states.draw_start_state`; in a ``cornered`` episode `explore` pushes
                outwards.
        """
        poses = draw_start_state(rng, start)
        self._exploration.start_episode(rng, outwards=start == HARD_START)
        numbers = [*poses.pusher, *poses.block, poses.angle]
        return self._start_from_poses([float(number) for number in numbers])

    def start_from(
        self,
        rng: np.random.Generator,
        before: Float[np.ndarray, " 6"],
        action: Action,
        state: Float[np.ndarray, " 6"],
        sure: Mapping[str, Float[np.ndarray, " 6"]] | None = None,
    ) -> None:
        """Start an episode at a state to which an action has led from the one before.

        What does not fit is moved to the nearest place where it can be.

        Args:
            rng: of the exploration policy's plans.
            before: as `state` returns it.
            action: as `step` takes it.
            state: likewise.
            sure: newest states in which each thing was intact, see `poses_from_states`.
        """
        poses_before, poses = poses_from_states(before, state, sure)
        numbers = _body_numbers(poses_before, AT_REST)
        self._start_from_bodies(numbers)
        # in a tenth of a second the pusher's controller forgets the speed that it started with
        self.step(action)
        speed = [*self._env.agent.velocity, 0.0]
        numbers = _body_numbers(poses, speed)
        self._start_from_bodies(numbers)
        outwards = rng.random() < 0.5
        self._exploration.start_episode(rng, outwards=outwards)

    def step(self, action: Action) -> Frame:
        """Move for a tenth of a second: the pusher's controller aims one step ahead."""
        checked = self._checked_action(action)
        target = self._pusher + self._step_ahead(checked)
        target = np.clip(target, MARGIN_UNITS, TABLE_UNITS - MARGIN_UNITS)
        self._actions.append(checked)
        large, _, _, _, info = self._env.step(target)
        self._coverage = float(info["coverage"])
        return self._small_frame(large)

    def explore(self, rng: np.random.Generator) -> Action:
        """Return the exploration policy's next action."""
        block = self._block
        return self._exploration.action(rng, self._pusher, block[:2], block[2])

    def state(self) -> Float[np.ndarray, " 6"]:
        """Return pusher x, y and block x, y in px, and the block's cosine and sine."""
        pusher = self._pusher / UNITS_PER_PX
        block = self._block
        position = block[:2] / UNITS_PER_PX
        angle = block[2]
        return np.array([*pusher, *position, np.cos(angle), np.sin(angle)], dtype=np.float32)

    def scores(self) -> Float[np.ndarray, " 4"]:
        """Return the two potentials (px, at most 0) and the two successes (0 or 1)."""
        gap = self._gap_px()
        misfit = self._misfit_px()
        is_touching = gap <= TOUCH_PX
        is_at_goal = self._coverage > self._env.success_threshold
        scores = [-gap, -misfit, is_touching, is_at_goal]
        return np.array(scores, dtype=np.float32)

    def save(self) -> tuple[list[float], list[Any]]:
        """Return where the episode starts and the actions since; the simulator is deterministic.

        After too many actions the episode first starts again where it is. pymunk then finds out
        anew what touches what, which moves things by about a tenth of a pixel.
        """
        if len(self._actions) > MAX_REPLAYED_ACTIONS:
            numbers = []
            for body in self._bodies:
                numbers += [*body.position, body.angle, *body.velocity, body.angular_velocity]
            self._start_from_bodies(numbers)
        return list(self._start_numbers), list(self._actions)

    def restore(self, saved: tuple[list[float], list[Any]]) -> None:
        """Come back to a saved state: start where it starts, and take its actions.

        Raises:
            ArgumentError: if it is no saved state; nothing is changed then.
        """
        numbers, actions = check_saved(saved, self.spec.actions)
        if len(numbers) == NUM_POSE_NUMBERS:
            self._start_from_poses(numbers)
        else:
            self._start_from_bodies(numbers)
        for action in actions:
            self.step(action)

    def close(self) -> None:
        """Close the simulator."""
        self._env.close()

    def _new_exploration(self) -> ExplorationPolicy:
        return ExplorationPolicy()

    def _checked_action(self, action: Action) -> Action:
        """Return an action as saved states hold it.

        Raises:
            ActionError: if it is none.
        """
        if not 0 <= int(action) < len(MOVES):
            raise ActionError(
                "no such move", given=action, allowed=f"0..{len(MOVES) - 1}", remedy="see MOVES"
            )
        return int(action)

    def _step_ahead(self, action: Action) -> Point:
        """Return how far ahead of the pusher a checked action sets its target, in units."""
        direction = np.array(MOVES[action], dtype=float)
        length = np.linalg.norm(direction)
        return STEP_UNITS / length * direction if length else direction

    def _start_from_poses(self, numbers: list[float]) -> Frame:
        """Start at rest: place of the pusher, place and angle of the T, in units."""
        self._start_numbers = list(numbers)
        self._actions = []
        pusher_x, pusher_y, block_x, block_y, angle = numbers
        state = gym_pusht_state((pusher_x, pusher_y), (block_x, block_y), angle)
        env = self._env
        large, _ = env.reset(options={"reset_to_state": state})
        add_thick_walls(env.space)
        env.block.position_func = BlockMotion(env)
        self._coverage = float(env._get_coverage())
        return self._small_frame(large)

    def _start_from_bodies(self, numbers: list[float]) -> None:
        """Start in motion: place, angle and speeds of both bodies, in gym-pusht's units."""
        self._start_from_poses([64.0, 64.0, 256.0, 256.0, 0.0])
        self._start_numbers = list(numbers)
        for body, of_body in zip(self._bodies, (numbers[:6], numbers[6:]), strict=True):
            x, y, angle, speed_x, speed_y, turning_speed = of_body
            body.angle = angle
            body.position = x, y
            body.velocity = speed_x, speed_y
            body.angular_velocity = turning_speed
            self._env.space.reindex_shapes_for_body(body)
        self._coverage = float(self._env._get_coverage())

    def _gap_px(self) -> float:
        """Return the distance between pusher and T."""
        pusher = tuple(self._pusher)
        shapes = self._env.block.shapes
        distances = [shape.point_query(pusher).distance for shape in shapes]
        gap = max(0.0, min(distances) - PUSHER_RADIUS_UNITS)
        return gap / UNITS_PER_PX

    def _misfit_px(self) -> float:
        """Return the mean distance between the T's corners and where they are at the goal."""
        env = self._env
        goal = env.get_goal_pose_body(env.goal_pose)
        distances = []
        for shape in env.block.shapes:
            for corner in shape.get_vertices():
                here = shape.body.local_to_world(corner)
                at_goal = goal.local_to_world(corner)
                distances.append((here - at_goal).length)
        misfit = float(np.mean(distances))
        return misfit / UNITS_PER_PX

    @property
    def _bodies(self) -> tuple[Any, Any]:
        return self._env.agent, self._env.block

    @property
    def _pusher(self) -> Point:
        return np.array(self._env.agent.position, dtype=float)

    @property
    def _block(self) -> Float[np.ndarray, " 3"]:
        block = self._env.block
        return np.array([*block.position, block.angle], dtype=float)

    def _small_frame(self, large: LargeFrame) -> Frame:
        # area averaging keeps the sub-pixel position of every edge; gym-pusht's own bilinear 512 ->
        # 64 drops it
        return cv2.resize(large, (FRAME_PX, FRAME_PX), interpolation=cv2.INTER_AREA)


def _body_numbers(poses: Poses, pusher_speed: list[float]) -> list[float]:
    """Return what `_start_from_bodies` takes; the T is at rest."""
    pusher = [*poses.pusher, 0.0, *pusher_speed]
    block = [*poses.block, poses.angle, *AT_REST]
    return [float(x) for x in (*pusher, *block)]
