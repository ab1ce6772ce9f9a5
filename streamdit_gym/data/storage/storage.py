"""Frames on disk: one lossless video per shard (what `record` writes), or one film per episode.

Takes: frames of whole episodes.  Gives: files, and the frames again.  Knows nothing of: where they
    came from.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.errors import require
from streamdit_gym.files import PART, atomic_write, write_text

Frames = UInt8[np.ndarray, "e g h w 3"]
LOSSLESS = {
    "codec": "libx264rgb",
    "pix_fmt": "rgb24",
    "options": {"qp": "0", "preset": "veryfast", "g": "97"},
    "container": {"fflags": "+bitexact"},
}
# Played by browsers, and read at random by loaders: small groups of pictures. One thread and no
# "mbtree", with which x264 makes other bytes of the same frames now and then (measured: 3 outcomes
# in 25 runs), and a resumed run would not equal an undisturbed one.
PLAYABLE = {
    "codec": "libx264",
    "pix_fmt": "yuv420p",
    "container": {"movflags": "+faststart"},
    "options": {
        "crf": "14",
        "preset": "veryfast",
        "g": "8",
        "threads": "1",
        "x264-params": "mbtree=0",
    },
}


class VideoWriter:
    """Writes an H.264 file frame by frame.

    Args:
        path: a file.
        size: height and width of the frames.
        fps: frames per second.
        how: `LOSSLESS` or `PLAYABLE`.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float, how: dict[str, Any]) -> None:
        self._av = require("av", "data", "a video")
        self._container = self._av.open(str(path), "w", options=how["container"])
        self._stream = self._container.add_stream(
            how["codec"], rate=round(fps), options=how["options"]
        )
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = how["pix_fmt"]

    def add(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the next frame."""
        made = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        for packet in self._stream.encode(made):
            self._container.mux(packet)

    def close(self) -> None:
        """Write what is still held back, and the end of the file."""
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()


def write_video(
    path: Path, frames: UInt8[np.ndarray, "f h w 3"], fps: float, how: dict[str, Any]
) -> None:
    """Write frames as H.264; see `VideoWriter`."""
    height, width = frames.shape[1:3]
    writer = VideoWriter(path, (height, width), fps, how)
    for frame in frames:
        writer.add(frame)
    writer.close()


def read_video(path: Path) -> UInt8[np.ndarray, "f h w 3"]:
    """Read every frame of a video.

    Raises:
        OSError: if there is no frame to read.
    """
    import cv2  # reads without loss what was written without, and training machines have it

    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    capture.release()
    if not frames:
        raise OSError(f"no frames in {path}")
    return np.stack(frames)


def replaced(path: Path) -> Path:
    """Return where to write what then replaces a path in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"part-{path.name}")


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder; at the end it takes the place of `path`,
    and after an error nothing has changed.
    """
    room = Path(tempfile.mkdtemp(prefix=PART, dir=path.parent))
    try:
        fresh = room / path.name
        fresh.mkdir()
        yield fresh
        if path.exists():
            os.replace(path, room / "old")
        os.replace(fresh, path)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def link(source: Path, target: Path) -> None:
    """Let a file be in a second place; where the file system has no hard links, as a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class Storage(ABC):
    """Writes and reads the frames of shards, and makes of all shards what the format's readers
    expect.

    A shard has its number in its files' names, and its arrays beside them in ``shard-00000.npz``,
    whatever the storage. What other programs shall see is numbered without holes and lies alone in
    a folder, so that nothing else goes where that folder goes.
    """

    needs: tuple[str, ...] = ()  # optional modules
    export_name: str = ""  # folder for other programs; empty: they read the shards
    working: tuple[str, ...] = ("",)  # folders in which shards are written

    @abstractmethod
    def write(
        self, folder: Path, index: int, frames: Frames, fps: float, rows: list[dict[str, Any]]
    ) -> None:
        """Write a shard's frames.

        Args:
            folder: the data set.
            index: the shard's number.
            frames: its episodes.
            fps: frames per second.
            rows: what is to be said about each episode, and its arrays (JSON).
        """

    @abstractmethod
    def read(self, folder: Path, index: int, episodes: int) -> Frames:
        """Return a shard's frames.

        Raises:
            OSError: if a file is missing or cut.
        """

    @abstractmethod
    def files(self, folder: Path, index: int) -> list[Path]:
        """Return the files of a shard that are there, as `write` names them."""

    def finish(self, folder: Path, meta: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        """Write what other programs read, once every shard is there; calling again gives the same.

        Args:
            folder: the data set.
            meta: ``meta.json``.
            rows: what is to be said about each kept episode, in order; ``rows[i]["shard"]`` and
                ``["row"]`` say where it lies.
        """
        if self.export_name:
            with replaced_folder(folder / self.export_name) as place:
                self.export(folder, place, meta, rows)

    def export(
        self, folder: Path, place: Path, meta: dict[str, Any], rows: list[dict[str, Any]]
    ) -> None:
        """Fill an empty folder with what other programs read; arguments as for `finish`."""

    def result(self, folder: Path, rows: list[dict[str, Any]]) -> str:
        """Return what to give to other programs: a path, or a pattern of paths."""
        return str(folder / self.export_name)


class Mkv(Storage):
    """``shard-00000.mkv``: H.264 in RGB, lossless, every frame of every episode in order."""

    def write(
        self, folder: Path, index: int, frames: Frames, fps: float, rows: list[dict[str, Any]]
    ) -> None:
        """Write one video."""
        with atomic_write(folder / f"shard-{index:05d}.mkv") as part:
            write_video(part, frames.reshape(-1, *frames.shape[2:]), fps, LOSSLESS)

    def read(self, folder: Path, index: int, episodes: int) -> Frames:
        """Read one video."""
        frames = read_video(folder / f"shard-{index:05d}.mkv")
        return frames.reshape(episodes, -1, *frames.shape[1:])

    def files(self, folder: Path, index: int) -> list[Path]:
        """Return the video."""
        return list(folder.glob(f"shard-{index:05d}.mkv"))


class Mp4(Storage):
    """``mp4/00000.mp4`` with ``00000.json`` beside it, and ``mp4/episodes.jsonl`` for all;
    shards are ``episodes/00000-000.mp4``.
    """

    export_name = "mp4"
    working = ("", "episodes")

    def write(
        self, folder: Path, index: int, frames: Frames, fps: float, rows: list[dict[str, Any]]
    ) -> None:
        """Write a film per episode."""
        for i, (episode, row) in enumerate(zip(frames, rows, strict=True)):
            path = self._film(folder, index, i)
            with atomic_write(path) as part:
                write_video(part, episode, fps, PLAYABLE)
            write_text(path.with_suffix(".json"), json.dumps(row))

    def read(self, folder: Path, index: int, episodes: int) -> Frames:
        """Read every film of a shard."""
        return np.stack([read_video(self._film(folder, index, i)) for i in range(episodes)])

    def files(self, folder: Path, index: int) -> list[Path]:
        """Return the films, and what is said about each."""
        return list((folder / "episodes").glob(f"{index:05d}-*"))

    def export(
        self, folder: Path, place: Path, meta: dict[str, Any], rows: list[dict[str, Any]]
    ) -> None:
        """Number the films, and write one line per episode."""
        lines = []
        for number, row in enumerate(rows):
            source = self._film(folder, row["shard"], row["row"])
            link(source, place / f"{number:05d}.mp4")
            link(source.with_suffix(".json"), place / f"{number:05d}.json")
            lines.append(json.dumps({"file": f"{number:05d}.mp4", **row}) + "\n")
        (place / "episodes.jsonl").write_text("".join(lines))

    @staticmethod
    def _film(folder: Path, index: int, row: int) -> Path:
        return folder / "episodes" / f"{index:05d}-{row:03d}.mp4"
