"""One video per episode, with its record beside it."""

from __future__ import annotations

import json
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
from streamdit_gym.files import atomic_write, write_text

EPISODES_FOLDER = "episodes"


class Mp4(FrameFormat):
    """``mp4/00000.mp4`` with ``00000.json``, and ``mp4/episodes.jsonl`` for all episodes.

    Shards are ``episodes/00000-000.mp4``: the shard's number, then the episode's.
    """

    export_folder = "mp4"
    shard_folders = ("", EPISODES_FOLDER)

    def write(
        self, folder: Path, shard: int, frames: Frames, fps: float, records: list[EpisodeRecord]
    ) -> None:
        """Write a video and a record per episode."""
        for row, (episode, record) in enumerate(zip(frames, records, strict=True)):
            path = _video_path(folder, shard, row)
            with atomic_write(path) as part:
                write_video(part, episode, fps, PLAYABLE)
            write_text(path.with_suffix(".json"), json.dumps(record))

    def read(self, folder: Path, shard: int, num_episodes: int) -> Frames:
        """Read every video of a shard."""
        videos = [read_video(_video_path(folder, shard, row)) for row in range(num_episodes)]
        return np.stack(videos)

    def files(self, folder: Path, shard: int) -> list[Path]:
        """Return the videos and the records."""
        return list((folder / EPISODES_FOLDER).glob(f"{shard:05d}-*"))

    def export(
        self, folder: Path, target: Path, meta: dict[str, Any], records: list[EpisodeRecord]
    ) -> None:
        """Number the videos, and write one line per episode."""
        lines = []
        for number, record in enumerate(records):
            video = _video_path(folder, record["shard"], record["row"])
            name = f"{number:05d}.mp4"
            link_or_copy(video, target / name)
            link_or_copy(video.with_suffix(".json"), target / f"{number:05d}.json")
            lines.append(json.dumps({"file": name, **record}) + "\n")
        (target / "episodes.jsonl").write_text("".join(lines))


def _video_path(folder: Path, shard: int, row: int) -> Path:
    return folder / EPISODES_FOLDER / f"{shard:05d}-{row:03d}.mp4"
