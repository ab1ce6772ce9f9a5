"""Random actions that are held for some frames, so that things move far enough to be seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from streamdit_gym.actions import ActionLanguage, Menu, SpokenBox

MIN_HOLD_FRAMES = 1
MAX_HOLD_FRAMES = 8
# Shares of a box's values that are at an end, and that are idle; the others are uniform.
END_SHARE = 0.3
IDLE_SHARE = 0.2
# Share of the episodes with full actions; the others' are weaker.
FULL_VIGOUR_SHARE = 0.3


def draw_held_action(rng: np.random.Generator, num_actions: int) -> tuple[int, int]:
    """Return a uniformly random action and the number of frames (1 to 8) to hold it."""
    action = rng.integers(num_actions)
    num_frames = rng.integers(MIN_HOLD_FRAMES, MAX_HOLD_FRAMES + 1)
    return int(action), int(num_frames)


def draw_box_values(rng: np.random.Generator, box: SpokenBox) -> Float[np.ndarray, " d"]:
    """Return a random action of a box: every dimension at an end, idle, or anywhere."""
    low = np.asarray(box.low)
    high = np.asarray(box.high)
    values = rng.uniform(low, high)
    ends = np.where(rng.random(len(box)) < 0.5, low, high)
    kind = rng.random(len(box))
    values = np.where(kind < END_SHARE, ends, values)
    is_idle = (kind >= END_SHARE) & (kind < END_SHARE + IDLE_SHARE)
    return np.where(is_idle, box.idle, values).astype(box.dtype)


class HeldExploration:
    """The exploration policy of a world without one of its own, for one episode.

    Episodes with a box differ in vigour: their actions are full ones, or all nearer to idle by one
    random factor. Full actions alone drive many robots at a speed that no trained policy has.

    Args:
        actions: the world's.
    """

    def __init__(self, actions: ActionLanguage) -> None:
        self._actions = actions
        self._action: Any = actions.idle
        self._frames_left = 0
        self._vigour: float | None = None

    def next(self, rng: np.random.Generator) -> Any:
        """Return the action of the next frame."""
        if self._frames_left == 0:
            self._action, self._frames_left = self._draw(rng)
        self._frames_left -= 1
        return self._action

    def _draw(self, rng: np.random.Generator) -> tuple[Any, int]:
        if isinstance(self._actions, Menu):
            return draw_held_action(rng, len(self._actions))
        if self._vigour is None:
            self._vigour = 1.0 if rng.random() < FULL_VIGOUR_SHARE else rng.random()
        idle = self._actions.idle
        values = idle + self._vigour * (draw_box_values(rng, self._actions) - idle)
        values = values.astype(self._actions.dtype)
        return values, int(rng.integers(MIN_HOLD_FRAMES, MAX_HOLD_FRAMES + 1))


class HeldRandomActions:
    """Random actions for a batch of rows; each row holds its action for 1 to 8 frames.

    Args:
        rng: draws the actions first, then the numbers of frames.
        num_rows: rows of the batch.
        num_actions: actions to choose from.
        draw_every_row: draw for all rows at every frame and use what is needed. The generator then
            advances by the same amount at each frame, whatever the actions are.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        num_rows: int,
        num_actions: int,
        *,
        draw_every_row: bool = False,
    ) -> None:
        self.rng = rng
        self.num_actions = num_actions
        self.draw_every_row = draw_every_row
        self._actions = np.zeros(num_rows, dtype=np.int64)
        self._frames_left = np.zeros(num_rows, dtype=np.int64)

    def next(self) -> Int[np.ndarray, " rows"]:
        """Return every row's action for the next frame."""
        is_over = self._frames_left == 0
        if self.draw_every_row:
            actions, num_frames = self._draw(len(is_over))
            actions = actions[is_over]
            num_frames = num_frames[is_over]
        else:
            actions, num_frames = self._draw(int(is_over.sum()))
        self._actions[is_over] = actions
        self._frames_left[is_over] = num_frames
        self._frames_left -= 1
        return self._actions.copy()

    def _draw(self, count: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        actions = self.rng.integers(self.num_actions, size=count)
        num_frames = self.rng.integers(MIN_HOLD_FRAMES, MAX_HOLD_FRAMES + 1, size=count)
        return actions, num_frames
