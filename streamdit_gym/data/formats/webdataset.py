"""WebDataset: tars in which an episode is ``00000-000.mp4`` with ``00000-000.json``.

The package webdataset is not needed to write or read them: a tar is a tar.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from streamdit_gym.data.formats.frame_format import (
    EpisodeRecord,
    FrameFormat,
    Frames,
    link_or_copy,
)
from streamdit_gym.data.video import PLAYABLE, read_video, write_video
from streamdit_gym.files import atomic_write


class WebDataset(FrameFormat):
    """``webdataset/00000.tar``, numbered without holes; shards are ``shard-00000.tar``."""

    export_folder = "webdataset"

    def write(
        self, folder: Path, shard: int, frames: Frames, fps: float, records: list[EpisodeRecord]
    ) -> None:
        """Write a tar; equal episodes give equal bytes."""
        with (
            atomic_write(_tar_path(folder, shard)) as part,
            tarfile.open(part, "w") as tar,
            tempfile.TemporaryDirectory() as scratch,
        ):
            video = Path(scratch) / "episode.mp4"
            for row, (episode, record) in enumerate(zip(frames, records, strict=True)):
                write_video(video, episode, fps, PLAYABLE)
                name = _member_name(shard, row)
                _add_member(tar, f"{name}.mp4", video.read_bytes())
                _add_member(tar, f"{name}.json", json.dumps(record).encode())

    def read(self, folder: Path, shard: int, num_episodes: int) -> Frames:
        """Read every video of a tar."""
        try:
            with tarfile.open(_tar_path(folder, shard)) as tar:
                names = [_member_name(shard, row) for row in range(num_episodes)]
                return np.stack([read_member(tar, f"{name}.mp4") for name in names])
        except (tarfile.TarError, KeyError) as error:
            raise OSError(str(error)) from error

    def files(self, folder: Path, shard: int) -> list[Path]:
        """Return the tar."""
        return list(folder.glob(_tar_path(folder, shard).name))

    def export(
        self, folder: Path, target: Path, meta: dict[str, Any], records: list[EpisodeRecord]
    ) -> None:
        """Number the tars that hold a kept episode."""
        for number, shard in enumerate(_shards_of(records)):
            link_or_copy(_tar_path(folder, shard), target / f"{number:05d}.tar")

    def export_path(self, folder: Path, records: list[EpisodeRecord]) -> str:
        """Return a pattern that the package webdataset takes."""
        last = len(_shards_of(records)) - 1
        numbers = f"{{00000..{last:05d}}}" if last else "00000"
        return f"{folder / self.export_folder}/{numbers}.tar"


def _tar_path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:05d}.tar"


def _member_name(shard: int, row: int) -> str:
    return f"{shard:05d}-{row:03d}"


def _add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def read_member(tar: tarfile.TarFile, name: str) -> np.ndarray:
    """Return the frames of a video in a tar, by way of a file that the decoder can open."""
    member = tar.extractfile(name)
    with tempfile.TemporaryDirectory() as scratch:
        video = Path(scratch) / "episode.mp4"
        video.write_bytes(member.read() if member else b"")
        return read_video(video)


def _shards_of(records: list[EpisodeRecord]) -> list[int]:
    return sorted({record["shard"] for record in records})
