"""Moments of a stream to return to: those that viewers saved, and one for every past second."""

from __future__ import annotations

import collections

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live.live_stream import LiveStream
from streamdit_gym.live.live_stream_state import LiveStreamState

MAX_SAVED = 32
SNAPSHOT_PERIOD_S = 1.0
MAX_SNAPSHOTS = 60


class StateHistory:
    """Saves and restores the states of a stream."""

    def __init__(self, live: LiveStream) -> None:
        self._live = live
        self._fps = live.world.spec.fps
        self._saved: dict[str, LiveStreamState] = {}
        self._snapshots: collections.deque[LiveStreamState] = collections.deque(
            maxlen=MAX_SNAPSHOTS
        )

    @property
    def saved_names(self) -> list[str]:
        """Names of the saved states, oldest first."""
        return list(self._saved)

    def save(self) -> None:
        """Save this moment under a new name.

        Raises:
            StreamDiTError: if there are too many.
        """
        if len(self._saved) >= MAX_SAVED:
            raise StreamDiTError(
                "too many saved states",
                given=len(self._saved),
                allowed=MAX_SAVED,
                remedy="start the server anew",
            )
        name = f"{len(self._saved) + 1}: frame {self._live.frame_count}"
        self._saved[name] = self._live.save_state()

    def restore(self, name: str) -> None:
        """Return to a saved state.

        Raises:
            StreamDiTError: if there is none of this name.
        """
        if name not in self._saved:
            raise StreamDiTError(
                "no such saved state",
                given=name,
                allowed=", ".join(self._saved) or "none yet",
                remedy="save one first",
            )
        self._restore(self._saved[name])

    def rewind(self, seconds: float) -> bool:
        """Return to the newest snapshot that is at least so old, in the stream's own time.

        Returns:
            Whether there was a snapshot.
        """
        target = self._live.frame_count - seconds * self._fps
        while len(self._snapshots) > 1 and self._snapshots[-1].frame_count > target:
            self._snapshots.pop()
        if not self._snapshots:
            return False
        self._restore(self._snapshots[-1])
        return True

    def take_snapshot(self) -> None:
        """Keep this moment for rewinding, if the last snapshot is a second old."""
        period = max(1, round(SNAPSHOT_PERIOD_S * self._fps))
        if self._snapshots and self._frames_since_snapshot() < period:
            return
        self._snapshots.append(self._live.save_state())

    def clear_snapshots(self) -> None:
        """Forget the past: the stream has started over."""
        self._snapshots.clear()

    def _frames_since_snapshot(self) -> int:
        return self._live.frame_count - self._snapshots[-1].frame_count

    def _restore(self, state: LiveStreamState) -> None:
        self._live.restore_state(state)
        while self._snapshots and self._frames_since_snapshot() < 0:
            self._snapshots.pop()
