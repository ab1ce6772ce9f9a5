"""A film of a stream, written while it runs.

Takes: shown frames.  Gives: an MP4.  Knows nothing of: streams.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.agents.film import panel, side_by_side
from streamdit_gym.data.storage.storage import PLAYABLE, VideoWriter, replaced
from streamdit_gym.live.stream import Shown


def drawn(shown: Shown, twin: bool) -> UInt8[np.ndarray, "H W 3"]:
    """Return a frame enlarged, its prompt below, and the twin beside it."""
    panels = [panel(shown.picture, "generated", shown.prompt)]
    if twin:
        picture = np.zeros_like(shown.picture) if shown.twin is None else shown.twin
        panels.append(panel(picture, "real simulator", shown.understood or ""))
    return side_by_side(panels)


class Recording:
    """A film under way; the file has its name only once it is whole.

    Args:
        path: an MP4 file.
        fps: frames per second.
        twin: whether the real simulator is in the picture.
    """

    def __init__(self, path: Path, fps: float, twin: bool) -> None:
        self.path, self.fps, self.twin, self.frames = path, fps, twin, 0
        self._part = replaced(path)
        self._writer: VideoWriter | None = None

    def add(self, shown: Shown) -> None:
        """Write a frame."""
        picture = drawn(shown, self.twin)
        if self._writer is None:
            self._writer = VideoWriter(self._part, (picture.shape[0], picture.shape[1]), self.fps, PLAYABLE)
        self._writer.add(picture)
        self.frames += 1

    def close(self) -> Path | None:
        """Finish the film and return its file; None if nothing was recorded."""
        if self._writer is None:
            return None
        try:
            self._writer.close()
        except Exception:
            self.drop()
            raise
        self._writer = None
        self._part.replace(self.path)
        return self.path

    def drop(self) -> None:
        """Give the film up: a part of one would only fill the disk."""
        with contextlib.suppress(Exception):
            if self._writer is not None:
                self._writer.close()
        self._writer = None
        self._part.unlink(missing_ok=True)
