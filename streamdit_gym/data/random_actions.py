"""Random actions that are held for a while: the plainest way to explore a world."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

MAX_HELD_FRAMES = 8


class HeldRandomActions:
    """Uniformly random menu actions, each held for 1 to 8 frames.

    Single random actions cancel each other out; held ones carry things across the picture.

    Args:
        rows: number of environments; each holds its own action.
        num_actions: number of menu actions.
    """

    def __init__(self, rows: int, num_actions: int) -> None:
        self._num_actions = num_actions
        self._actions = np.zeros(rows, dtype=np.int64)
        self._frames_left = np.zeros(rows, dtype=np.int64)

    def next(self, rng: np.random.Generator) -> Int[np.ndarray, " rows"]:
        """Return every row's action for the next frame."""
        expired = self._frames_left == 0
        num_expired = int(expired.sum())
        self._actions[expired] = rng.integers(self._num_actions, size=num_expired)
        self._frames_left[expired] = rng.integers(1, MAX_HELD_FRAMES + 1, size=num_expired)
        self._frames_left -= 1
        return self._actions.copy()
