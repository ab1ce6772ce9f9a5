"""Films of a stream, written while it runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.agents.film import panel, side_by_side
from streamdit_gym.data.video import PLAYABLE, VideoWriter
from streamdit_gym.errors import StorageError
from streamdit_gym.files import atomic_write
from streamdit_gym.live.stream_frame import StreamFrame

FILM_PATTERN = "stream-*.mp4"  # films recorded on the page
MAX_FILMS = 100  # in a folder
MAX_FOLDER_BYTES = 2 << 30  # of all films in a folder, until no other is started
MAX_FILM_BYTES = 256 << 20
MAX_FILM_FRAMES = 36_000  # an hour of PushT: a forgotten recording does not fill the disk


def draw_frame(frame: StreamFrame, with_simulator: bool) -> UInt8[np.ndarray, "H W 3"]:
    """Return a frame enlarged, with its prompt below and the simulator's frame beside it."""
    panels = [panel(frame.image, "generated", frame.prompt)]
    if with_simulator:
        image = frame.simulator_image
        if image is None:
            image = np.zeros_like(frame.image)
        panels.append(panel(image, "real simulator", frame.simulator_action or ""))
    return side_by_side(panels)


def check_film_quota(folder: Path) -> None:
    """Refuse another film in a full folder: no film is ever removed.

    Raises:
        StorageError: if the folder has too many films, or too many bytes of them.
    """
    sizes = [path.stat().st_size for path in folder.glob(FILM_PATTERN)]
    if len(sizes) >= MAX_FILMS or sum(sizes) >= MAX_FOLDER_BYTES:
        raise StorageError(
            "no room for another film",
            given=f"{len(sizes)} films, {sum(sizes) >> 20} MiB",
            allowed=f"{MAX_FILMS} films, {MAX_FOLDER_BYTES >> 20} MiB",
            remedy="whoever runs the server moves films out of its folder (--out)",
        )


class _DiscardError(Exception):
    """Makes the atomic write remove its file."""


class FilmRecorder:
    """A film in progress; the file gets its name only once it is whole.

    Args:
        path: an MP4 file.
        fps: frames per second.
        with_simulator: whether the reference simulator is in the picture.
    """

    def __init__(self, path: Path, fps: float, with_simulator: bool) -> None:
        self.path = path
        self.fps = fps
        self.with_simulator = with_simulator
        self.num_frames = 0
        self._atomic_write = contextlib.ExitStack()
        self._partial_path: Path | None = None
        self._writer: VideoWriter | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes on the disk by now."""
        if self._partial_path is None or not self._partial_path.exists():
            return 0
        return self._partial_path.stat().st_size

    @property
    def is_full(self) -> bool:
        """Whether the film is as long or as large as a film may be."""
        return self.num_frames >= MAX_FILM_FRAMES or self.num_bytes >= MAX_FILM_BYTES

    def add(self, frame: StreamFrame) -> None:
        """Write a frame."""
        picture = draw_frame(frame, self.with_simulator)
        if self._writer is None:
            size = (picture.shape[0], picture.shape[1])
            self._partial_path = self._atomic_write.enter_context(atomic_write(self.path))
            self._writer = VideoWriter(self._partial_path, size, self.fps, PLAYABLE)
        self._writer.add(picture)
        self.num_frames += 1

    def close(self) -> Path | None:
        """Finish the film and return its file; None if nothing was recorded."""
        if self._writer is None:
            return None
        writer = self._writer
        self._writer = None
        with self._atomic_write:
            writer.close()
        return self.path

    def discard(self) -> None:
        """Give the film up and remove its file: half a film only fills the disk."""
        with contextlib.suppress(Exception):
            if self._writer is not None:
                self._writer.close()
        self._writer = None
        with contextlib.suppress(_DiscardError), self._atomic_write:
            raise _DiscardError
