"""The reference simulator of Crossroads: a ball, a post, a screen, a paddle, some lines of NumPy.

A ball falls onto a post and rolls off to the left or to the right. On the left it falls behind a
screen and comes out below either end of it. At any time it may change its colour. The paddle at the
bottom follows the actions and has no influence on any of this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from streamdit_gym.definition import Action, Frame, StepOutcome
from streamdit_gym.envs.crossroads.definition import (
    BALL_COLOURS,
    BALL_RADIUS,
    CHANGE_ODDS,
    GROUND,
    HEIGHT,
    LEFT_AT_POST,
    LEFT_AT_SCREEN,
    PADDLE,
    PADDLE_COLOUR,
    PADDLE_STEPS,
    POST,
    POST_COLOUR,
    SCREEN,
    SCREEN_COLOUR,
    WIDTH,
    Box,
)
from streamdit_gym.errors import ActionError

TOP = (32.0, 3.0)
FALL = 3.0  # px a frame
ROLL = (2.0, 1.0)  # px a frame, away from the post and down
ROLL_FRAMES = 7
TURN_Y = 12.0  # where a falling ball touches the post
EXITS = (11.0, 25.0)  # x of the balls that come out from behind the screen
HIDDEN_Y = 37.0  # where the screen hides a whole ball
LAST_HIDDEN_Y = 40.0  # the last such place on its way
CATCH_Y = 52.0
CATCH_DISTANCE = 10.0
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH] + 0.5  # middles of pixels
LAST_PHASE = 20  # frames that a ball may have behind it when an episode starts, at most


class CrossroadsSimulator:
    """One episode after the other of falling balls; `Simulator` has the protocol."""

    def reset(self, rng: np.random.Generator, start: str) -> Frame:
        """Start with a ball anywhere on its way, the paddle anywhere."""
        # a generator of its own, since it goes on after the reset, and is saved
        self._rng = np.random.default_rng(int(rng.integers(2**63)))
        self._new_ball()
        self._paddle = self._rng.uniform(PADDLE.half_width, WIDTH - PADDLE.half_width)
        for _ in range(self._rng.integers(LAST_PHASE + 1)):
            self._move_ball()
        self._outcome = StepOutcome(0.0, False)
        return self._draw()

    def step(self, action: Action) -> Frame:
        """Hold the paddle still (0), move it to the left (1) or to the right (2); move the ball."""
        if action not in (0, 1, 2):
            raise ActionError("no such move", given=action, allowed="0, 1, 2", remedy="give one")
        place = self._paddle + PADDLE_STEPS[action]
        self._paddle = float(np.clip(place, PADDLE.half_width, WIDTH - PADDLE.half_width))
        self._outcome = StepOutcome(float(self._is_caught()), False)
        if self._y >= CATCH_Y:
            self._new_ball()
        else:
            self._move_ball()
        return self._draw()

    def outcome(self) -> StepOutcome:
        """Return 1 if the last step caught the ball; no episode ends."""
        return self._outcome

    def state(self) -> Float[np.ndarray, " n"]:
        """Return where the paddle is."""
        return np.array([self._paddle], dtype=np.float32)

    def save(self) -> dict[str, Any]:
        """Return all that `restore` needs, chance included."""
        numbers = {name: getattr(self, f"_{name}") for name in SAVED}
        return {**numbers, "outcome": tuple(self._outcome), "rng": self._rng.bit_generator.state}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a saved state."""
        numbers = {name: saved[name] for name in SAVED}
        outcome = StepOutcome(*saved["outcome"])
        rng = np.random.default_rng()
        rng.bit_generator.state = saved["rng"]
        # nothing has changed yet, should any of this have failed
        for name, number in numbers.items():
            setattr(self, f"_{name}", number)
        self._outcome = outcome
        self._rng = rng

    def reseed(self, rng: np.random.Generator) -> None:
        """Let another generator decide what is still open, such as where a hidden ball comes to."""
        self._rng = rng
        if self._is_left and HIDDEN_Y <= self._y <= LAST_HIDDEN_Y:
            self._draw_exit()

    def close(self) -> None:
        """Free nothing."""

    def _new_ball(self) -> None:
        self._x, self._y = TOP
        self._rolled = 0  # frames
        self._colour = int(self._rng.integers(2))
        self._is_left = False

    def _move_ball(self) -> None:
        if self._rng.random() < CHANGE_ODDS:
            self._colour = 1 - self._colour
        if self._y == TURN_Y and self._rolled == 0:
            self._is_left = bool(self._rng.random() < LEFT_AT_POST)
        if self._y >= TURN_Y and self._rolled < ROLL_FRAMES:
            self._roll()
            return
        self._y += FALL
        if self._is_left and self._y == HIDDEN_Y:
            self._draw_exit()

    def _draw_exit(self) -> None:
        self._x = EXITS[int(self._rng.random() >= LEFT_AT_SCREEN)]

    def _roll(self) -> None:
        sideways, down = ROLL
        self._rolled += 1
        self._x += -sideways if self._is_left else sideways
        self._y += down

    def _is_caught(self) -> bool:
        return self._y >= CATCH_Y and abs(self._x - self._paddle) <= CATCH_DISTANCE

    def _draw(self) -> Frame:
        """Draw with soft edges: they keep places finer than a pixel."""
        frame = np.full((HEIGHT, WIDTH, 3), GROUND, dtype=float)
        ball = Box(x=self._x, y=self._y, half_width=BALL_RADIUS, half_height=BALL_RADIUS)
        window = _window(ball)
        to_ball = np.hypot(COLUMNS[window] - ball.x, ROWS[window] - ball.y)
        _paint(frame[window], BALL_RADIUS - to_ball, BALL_COLOURS[self._colour])
        paddle = PADDLE.at(self._paddle)
        boxes = ((POST, POST_COLOUR), (SCREEN, SCREEN_COLOUR), (paddle, PADDLE_COLOUR))
        for box, colour in boxes:
            window = _window(box)
            _paint(frame[window], _depth(box, ROWS[window], COLUMNS[window]), colour)
        return frame.round().astype(np.uint8)


SAVED = ("x", "y", "rolled", "colour", "is_left", "paddle")


def _depth(
    box: Box, rows: Float[np.ndarray, "h w"], columns: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """Return how far inside a box's edge every pixel's middle is."""
    across = box.half_width - np.abs(columns - box.x)
    along = box.half_height - np.abs(rows - box.y)
    return np.minimum(across, along)


def _window(box: Box) -> tuple[slice, slice]:
    """Return the rows and columns that a box, with its soft edges, reaches."""
    top = max(0, int(box.y - box.half_height) - 1)
    left = max(0, int(box.x - box.half_width) - 1)
    bottom = int(box.y + box.half_height) + 2
    right = int(box.x + box.half_width) + 2
    return slice(top, bottom), slice(left, right)


def _paint(
    part: Float[np.ndarray, "h w 3"],
    depth: Float[np.ndarray, "h w"],
    colour: tuple[int, int, int],
) -> None:
    """Paint a part of a frame in place, as far as its pixels are inside."""
    cover = np.clip(depth + 0.5, 0, 1)[..., None]
    part[:] = (1 - cover) * part + cover * np.array(colour, dtype=float)
