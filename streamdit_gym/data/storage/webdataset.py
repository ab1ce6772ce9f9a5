"""WebDataset: tars in which an episode is ``00000-000.mp4`` with ``00000-000.json``.

Takes: frames of whole episodes.  Gives: tars, and the frames again.  Knows nothing of: the package
    webdataset (a tar is a tar).
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from streamdit_gym.data.storage.storage import (
    PLAYABLE,
    Frames,
    Storage,
    link,
    read_video,
    write_video,
)
from streamdit_gym.files import atomic_write


class WebDataset(Storage):
    """``webdataset/00000.tar``, numbered without holes; shards are ``shard-00000.tar``."""

    export_name = "webdataset"

    def write(
        self, folder: Path, index: int, frames: Frames, fps: float, rows: list[dict[str, Any]]
    ) -> None:
        """Write a tar; equal episodes give equal bytes."""
        with (
            atomic_write(self._tar(folder, index)) as part,
            tarfile.open(part, "w") as tar,
            tempfile.TemporaryDirectory() as place,
        ):
            film = Path(place) / "film.mp4"
            for i, (episode, row) in enumerate(zip(frames, rows, strict=True)):
                write_video(film, episode, fps, PLAYABLE)
                for kind, content in (
                    ("mp4", film.read_bytes()),
                    ("json", json.dumps(row).encode()),
                ):
                    member = tarfile.TarInfo(f"{index:05d}-{i:03d}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))

    def read(self, folder: Path, index: int, episodes: int) -> Frames:
        """Read every film of a tar."""
        try:
            with (
                tempfile.TemporaryDirectory() as place,
                tarfile.open(self._tar(folder, index)) as tar,
            ):
                film = Path(place) / "film.mp4"
                films = []
                for i in range(episodes):
                    member = tar.extractfile(f"{index:05d}-{i:03d}.mp4")
                    film.write_bytes(member.read() if member else b"")
                    films.append(read_video(film))
                return np.stack(films)
        except (tarfile.TarError, KeyError) as error:
            raise OSError(str(error)) from error

    def files(self, folder: Path, index: int) -> list[Path]:
        """Return the tar."""
        return list(folder.glob(self._tar(folder, index).name))

    def export(
        self, folder: Path, place: Path, meta: dict[str, Any], rows: list[dict[str, Any]]
    ) -> None:
        """Number the tars in which an episode was kept."""
        for number, index in enumerate(_shards(rows)):
            link(self._tar(folder, index), place / f"{number:05d}.tar")

    def result(self, folder: Path, rows: list[dict[str, Any]]) -> str:
        """Return a pattern that WebDataset takes."""
        last = len(_shards(rows)) - 1
        numbers = f"{{00000..{last:05d}}}" if last else "00000"
        return f"{folder / self.export_name}/{numbers}.tar"

    @staticmethod
    def _tar(folder: Path, index: int) -> Path:
        return folder / f"shard-{index:05d}.tar"


def _shards(rows: list[dict[str, Any]]) -> list[int]:
    return sorted({row["shard"] for row in rows})
