"""LeRobot data sets, version 3.0; the package lerobot is not needed to write them.

Videos are written shard by shard. Tables are written when all shards are there, since an episode's
number depends on how many were kept before it. The last frame of an episode has no action, and
LeRobot has no place for a frame without one, so it is left out.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from streamdit_gym.data.formats.frame_format import (
    EpisodeRecord,
    FrameFormat,
    Frames,
    link_or_copy,
)
from streamdit_gym.data.formats.lerobot_metadata import CAMERA, dataset_card, dataset_info
from streamdit_gym.data.formats.lerobot_statistics import (
    Statistics,
    feature_statistics,
    joined_statistics,
    picture_statistics,
)
from streamdit_gym.data.formats.lerobot_tables import (
    Position,
    episode_row,
    frame_columns,
    frame_table,
    numbered_path,
    write_row_groups,
    write_tasks,
)
from streamdit_gym.data.video import PLAYABLE, read_video, write_video
from streamdit_gym.errors import require
from streamdit_gym.files import atomic_write, write_text

EPISODES = "meta/episodes/chunk-000/file-000.parquet"


class LeRobot(FrameFormat):
    """``lerobot/`` holds a card and ``meta/``, ``data/``, ``videos/`` as LeRobot asks for.

    Shards are ``shard-00000.mp4``: a shard's episodes one behind the other.
    """

    required_modules = ("pyarrow",)
    export_folder = "lerobot"

    def write(
        self, folder: Path, shard: int, frames: Frames, fps: float, records: list[EpisodeRecord]
    ) -> None:
        """Write a shard's video, and the statistics of its pictures."""
        kept = frames[:, :-1]
        with atomic_write(_video_path(folder, shard)) as part:
            write_video(part, kept.reshape(-1, *frames.shape[2:]), fps, PLAYABLE)
        statistics = [picture_statistics(episode) for episode in kept]
        write_text(_statistics_path(folder, shard), json.dumps(statistics))

    def read(self, folder: Path, shard: int, num_episodes: int) -> Frames:
        """Read a shard's video."""
        path = _video_path(folder, shard)
        if not path.is_file():  # where older versions kept it
            path = folder / "videos" / CAMERA / numbered_path(shard, "mp4")
        frames = read_video(path)
        return frames.reshape(num_episodes, -1, *frames.shape[1:])

    def files(self, folder: Path, shard: int) -> list[Path]:
        """Return the video and the statistics."""
        paths = (_video_path(folder, shard), _statistics_path(folder, shard))
        return [path for path in paths if path.exists()]

    def export(
        self, folder: Path, target: Path, meta: dict[str, Any], records: list[EpisodeRecord]
    ) -> None:
        """Number the videos and write the tables."""
        export = _Export(folder, target, meta, records)
        for shard, group in groupby(records, lambda record: record["shard"]):
            export.add_shard(shard, list(group))
        export.finish()


class _Export:
    """An export under way; it holds the tables of one shard at a time."""

    def __init__(
        self, folder: Path, target: Path, meta: dict[str, Any], records: list[EpisodeRecord]
    ) -> None:
        self.folder = folder
        self.target = target
        self.meta = meta
        self.tasks = sorted({prompt for record in records for prompt in record["prompts"]})
        self._task_numbers = {prompt: number for number, prompt in enumerate(self.tasks)}
        self._position = Position()
        self._shard_statistics: list[dict[str, Statistics]] = []
        self._episodes_writer: Any = None
        (target / EPISODES).parent.mkdir(parents=True)

    def add_shard(self, shard: int, records: list[EpisodeRecord]) -> None:
        """Add the kept episodes of a shard: a video, a data file, and rows about episodes."""
        file = self._position.file
        video = self.target / "videos" / CAMERA / numbered_path(file, "mp4")
        link_or_copy(_video_path(self.folder, shard), video)
        pictures = json.loads(_statistics_path(self.folder, shard).read_text())
        with np.load(self.folder / f"shard-{shard:05d}.npz") as npz:
            arrays = dict(npz)
        tables, rows, statistics = [], [], []
        for record in records:
            columns = frame_columns(self.meta, self._task_numbers, arrays, record, self._position)
            num_frames = len(columns["index"])
            features = {
                name: feature_statistics(values, num_frames) for name, values in columns.items()
            }
            features[CAMERA] = pictures[record["row"]]
            end = self._position_after(num_frames)
            rows.append(episode_row(record, self._position, end, features))
            tables.append(frame_table(columns))
            statistics.append(features)
            self._position = end
        write_row_groups(self.target / "data" / numbered_path(file, "parquet"), tables)
        self._write_episodes(rows)
        self._shard_statistics.append(joined_statistics(statistics))
        self._position = Position(
            file=file + 1, episode=self._position.episode, frame=self._position.frame
        )

    def finish(self) -> None:
        """Write what concerns all episodes."""
        self._episodes_writer.close()
        num_episodes = self._position.episode
        num_frames = self._position.frame
        info = dataset_info(
            self.meta,
            num_episodes=num_episodes,
            num_frames=num_frames,
            num_tasks=len(self.tasks),
        )
        statistics = joined_statistics(self._shard_statistics)
        card = dataset_card(self.meta, num_episodes=num_episodes, num_frames=num_frames)
        write_tasks(self.target / "meta/tasks.parquet", self.tasks)
        (self.target / "meta/stats.json").write_text(json.dumps(statistics, indent=1))
        (self.target / "meta/info.json").write_text(json.dumps(info, indent=1))
        (self.target / "README.md").write_text(card)

    def _position_after(self, num_frames: int) -> Position:
        """Return where the next episode begins."""
        return Position(
            file=self._position.file,
            episode=self._position.episode + 1,
            frame=self._position.frame + num_frames,
            second=self._position.second + num_frames / self.meta["fps"],
        )

    def _write_episodes(self, rows: list[dict[str, Any]]) -> None:
        pa = require("pyarrow", "generate", "a LeRobot data set")
        parquet = require("pyarrow.parquet", "generate", "a LeRobot data set")
        table = pa.Table.from_pylist(rows)
        if self._episodes_writer is None:
            self._episodes_writer = parquet.ParquetWriter(
                self.target / EPISODES, table.schema, compression="snappy"
            )
        self._episodes_writer.write_table(table)


def _video_path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:05d}.mp4"


def _statistics_path(folder: Path, shard: int) -> Path:
    return folder / f"pictures-{shard:05d}.json"
