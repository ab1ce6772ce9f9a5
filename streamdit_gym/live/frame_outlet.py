"""Hands out the frames of a chunk one by one, evenly over the time that the chunk lasts."""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence

LOG = logging.getLogger(__name__)


class FrameOutlet:
    """Shows frames at their times: those of a chunk come all at once from the model.

    The first frame of a chunk is shown at once, by the caller's thread. Where chunks have one frame
    there is no other thread.
    """

    def __init__(self) -> None:
        self._waiting: collections.deque[tuple[float, Callable[[], None]]] = collections.deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def show(self, frames: Sequence[Callable[[], None]], seconds: float) -> None:
        """Show the frames of a chunk; those of the last one that still wait are shown first.

        Args:
            frames: what shows each of them, oldest first.
            seconds: until the next chunk comes.
        """
        now = time.monotonic()
        with self._changed:
            while self._waiting:
                self._show_next()
            for place, show_frame in enumerate(frames):
                self._waiting.append((now + seconds * place / len(frames), show_frame))
            self._show_next()
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
                self._thread.start()
            self._changed.notify()

    def flush(self) -> None:
        """Show the frames that wait now: nothing is to move any more."""
        with self._changed:
            while self._waiting:
                self._show_next()

    def drop(self) -> None:
        """Forget the frames that wait: the stream has gone elsewhere."""
        with self._changed:
            self._waiting.clear()

    def close(self) -> None:
        """Forget the frames that wait, and end the thread."""
        with self._changed:
            self._waiting.clear()
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _show_next(self) -> None:
        _, show_frame = self._waiting.popleft()
        show_frame()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                if not self._waiting:
                    self._changed.wait()
                    continue
                seconds = self._waiting[0][0] - time.monotonic()
                if seconds > 0:
                    self._changed.wait(seconds)
                else:
                    self._show_late()

    def _show_late(self) -> None:
        """Show the next frame; an error is logged, and the ones after it are shown all the same."""
        try:
            self._show_next()
        except Exception:
            LOG.exception("a frame could not be shown")
