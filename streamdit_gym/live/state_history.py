"""Moments of a stream to return to: those that viewers saved, and one for every past second."""

from __future__ import annotations

import collections

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live.stream_protocol import Moment, SteeredStream

MAX_SAVED = 32
MAX_SAVED_BYTES = 2 << 30  # until no other is saved; a moment of a video model at 480p is 2 GB
SNAPSHOT_PERIOD_S = 1.0
MAX_SNAPSHOTS = 60
MAX_SNAPSHOT_BYTES = 2 << 30
BYTES_PER_S = 64 << 20  # copied for snapshots: larger moments are kept more rarely


class StateHistory:
    """Saves and restores the states of a stream."""

    def __init__(self, live: SteeredStream) -> None:
        self._live = live
        self._fps = live.description.fps
        self._saved: dict[str, Moment] = {}
        self._snapshots: collections.deque[Moment] = collections.deque()

    @property
    def saved_names(self) -> list[str]:
        """Names of the saved states, oldest first."""
        return list(self._saved)

    def save(self) -> None:
        """Save this moment under a new name.

        Raises:
            StreamDiTError: if there are too many.
        """
        num_bytes = sum(moment.num_bytes for moment in self._saved.values())
        if len(self._saved) >= MAX_SAVED or num_bytes >= MAX_SAVED_BYTES:
            raise StreamDiTError(
                "too many saved states",
                given=f"{len(self._saved)}, {num_bytes >> 20} MiB",
                allowed=f"{MAX_SAVED}, {MAX_SAVED_BYTES >> 20} MiB",
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
        """Keep this moment for rewinding, if the last snapshot is old enough.

        That is a second, or as many as its copy is worth; the oldest ones go.
        """
        if self._snapshots:
            seconds = max(SNAPSHOT_PERIOD_S, self._snapshots[-1].num_bytes / BYTES_PER_S)
            if self._frames_since_snapshot() < max(1, round(seconds * self._fps)):
                return
        self._snapshots.append(self._live.save_state())
        while len(self._snapshots) > 1 and self._holds_too_much():
            self._snapshots.popleft()

    def clear_snapshots(self) -> None:
        """Forget the past: the stream has started over."""
        self._snapshots.clear()

    def _holds_too_much(self) -> bool:
        num_bytes = sum(moment.num_bytes for moment in self._snapshots)
        return len(self._snapshots) > MAX_SNAPSHOTS or num_bytes > MAX_SNAPSHOT_BYTES

    def _frames_since_snapshot(self) -> int:
        return self._live.frame_count - self._snapshots[-1].frame_count

    def _restore(self, state: Moment) -> None:
        self._live.restore_state(state)
        while self._snapshots and self._frames_since_snapshot() < 0:
            self._snapshots.pop()
