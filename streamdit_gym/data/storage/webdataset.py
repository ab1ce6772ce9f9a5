"""WebDataset: one tar per shard; an episode is ``00000-000.mp4`` with ``00000-000.json``.

Takes: frames of whole episodes.  Gives: tars, and the frames again.  Knows nothing of: the package webdataset (a tar is a tar).
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from streamdit_gym.data.storage.storage import PLAYABLE, Frames, Storage, read_video, replaced, write_video


class WebDataset(Storage):
    """``shard-00000.tar``."""

    def write(self, folder: Path, index: int, frames: Frames, fps: float, rows: list[dict[str, Any]]) -> None:
        """Write a tar; equal episodes give equal bytes."""
        path = folder / f"shard-{index:05d}.tar"
        part = replaced(path)
        with tarfile.open(part, "w") as tar, tempfile.TemporaryDirectory() as place:
            film = Path(place) / "film.mp4"
            for i, (episode, row) in enumerate(zip(frames, rows, strict=True)):
                write_video(film, episode, fps, PLAYABLE)
                for kind, content in (("mp4", film.read_bytes()), ("json", json.dumps(row).encode())):
                    member = tarfile.TarInfo(f"{index:05d}-{i:03d}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        part.replace(path)

    def read(self, folder: Path, index: int, episodes: int) -> Frames:
        """Read every film of a tar."""
        try:
            with tempfile.TemporaryDirectory() as place, tarfile.open(folder / f"shard-{index:05d}.tar") as tar:
                film, found = Path(place) / "film.mp4", []
                for i in range(episodes):
                    member = tar.extractfile(f"{index:05d}-{i:03d}.mp4")
                    film.write_bytes(member.read() if member else b"")
                    found.append(read_video(film))
                return np.stack(found)
        except (tarfile.TarError, KeyError) as error:
            raise OSError(str(error)) from error
