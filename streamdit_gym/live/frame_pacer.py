"""When a stream makes its next step, and how many frames per second it reaches."""

from __future__ import annotations

import collections
import time

MAX_FPS = 240.0
URGENT_PERIOD_S = 0.05  # a step with a new prompt comes early, but not sooner after the last one
MAX_LAG_S = 0.25  # a step later than this is not made up for
RATE_WINDOW_S = 2.0


class FramePacer:
    """Keeps steps at a regular pace; a new prompt makes the next one early."""

    def __init__(self) -> None:
        self.urgent = False  # whether a new prompt waits
        self._due = time.monotonic()

    def next_time(self, period: float) -> float:
        """Return when the next step is made.

        Args:
            period: seconds between two steps.
        """
        if not self.urgent:
            return self._due
        return self._due - max(0.0, period - URGENT_PERIOD_S)

    def advance(self, period: float) -> None:
        """Note that a step is made now; the next is due one period after this one was."""
        now = time.monotonic()
        is_on_time = 0 <= now - self._due < MAX_LAG_S
        self._due = (self._due if is_on_time else now) + period


class FrameRateMeter:
    """Measures frames per second over the last two seconds, or over a step that takes longer."""

    def __init__(self) -> None:
        # when a step was done, and how many frames it made
        self._steps: collections.deque[tuple[float, int]] = collections.deque()

    def add(self, num_frames: int, now: float) -> float:
        """Count the frames of a step and return the rate."""
        self._steps.append((now, num_frames))
        while len(self._steps) > 2 and now - self._steps[0][0] > RATE_WINDOW_S:
            self._steps.popleft()
        # those of the oldest step were made before it was done
        first_time, first_frames = self._steps[0]
        num_frames = sum(count for _, count in self._steps) - first_frames
        return num_frames / max(1e-6, now - first_time)

    def clear(self) -> None:
        """Start counting anew."""
        self._steps.clear()
