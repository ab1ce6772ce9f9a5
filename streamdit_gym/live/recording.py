"""A film of a stream, written while it runs.

Takes: shown frames.  Gives: an MP4.  Knows nothing of: streams.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.agents.film import panel, side_by_side
from streamdit_gym.data.video import PLAYABLE, VideoWriter
from streamdit_gym.errors import StorageError
from streamdit_gym.files import atomic_write
from streamdit_gym.live.stream import Shown

FILMS = "stream-*.mp4"  # recorded on the page
MAX_FILMS = 100  # in a folder
MAX_BYTES = 2 << 30  # of all films in a folder, until no other is begun
MAX_FILM_BYTES = 256 << 20


def drawn(shown: Shown, twin: bool) -> UInt8[np.ndarray, "H W 3"]:
    """Return a frame enlarged, its prompt below, and the twin beside it."""
    panels = [panel(shown.picture, "generated", shown.prompt)]
    if twin:
        picture = np.zeros_like(shown.picture) if shown.twin is None else shown.twin
        panels.append(panel(picture, "real simulator", shown.understood or ""))
    return side_by_side(panels)


def check_room(folder: Path) -> None:
    """Refuse another film where there are enough: nobody's film is removed.

    Raises:
        StorageError: if the folder has too many films, or too many bytes of them.
    """
    sizes = [path.stat().st_size for path in folder.glob(FILMS)]
    if len(sizes) >= MAX_FILMS or sum(sizes) >= MAX_BYTES:
        raise StorageError(
            "no room for another film",
            given=f"{len(sizes)} films, {sum(sizes) >> 20} MiB",
            allowed=f"{MAX_FILMS} films, {MAX_BYTES >> 20} MiB",
            remedy="whoever runs the server moves films out of its folder (--out)",
        )


class _GivenUpError(Exception):
    """Removes a film under way."""


class Recording:
    """A film under way; the file has its name only once it is whole.

    Args:
        path: an MP4 file.
        fps: frames per second.
        twin: whether the real simulator is in the picture.
    """

    def __init__(self, path: Path, fps: float, twin: bool) -> None:
        self.path, self.fps, self.twin, self.frames = path, fps, twin, 0
        self._place = contextlib.ExitStack()
        self._part: Path | None = None
        self._writer: VideoWriter | None = None

    @property
    def size(self) -> int:
        """Bytes on the disk by now."""
        return self._part.stat().st_size if self._part is not None and self._part.exists() else 0

    def add(self, shown: Shown) -> None:
        """Write a frame."""
        picture = drawn(shown, self.twin)
        if self._writer is None:
            self._part = self._place.enter_context(atomic_write(self.path))
            self._writer = VideoWriter(
                self._part, (picture.shape[0], picture.shape[1]), self.fps, PLAYABLE
            )
        self._writer.add(picture)
        self.frames += 1

    def close(self) -> Path | None:
        """Finish the film and return its file; None if nothing was recorded."""
        if self._writer is None:
            return None
        writer, self._writer = self._writer, None
        with self._place:
            writer.close()
        return self.path

    def drop(self) -> None:
        """Give the film up: a part of one would only fill the disk."""
        with contextlib.suppress(Exception):
            if self._writer is not None:
                self._writer.close()
        self._writer = None
        with contextlib.suppress(_GivenUpError), self._place:
            raise _GivenUpError
