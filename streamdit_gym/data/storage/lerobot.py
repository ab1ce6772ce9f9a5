"""LeRobot data sets, version 3.0.

Takes: frames of whole episodes, arrays.  Gives: the layout that LeRobot reads, and the frames
    again.
Knows nothing of: the package lerobot.

Videos are written shard by shard; tables when all shards are there, since an episode's number
depends on how many were kept before it. The last frame of an episode has no action, and LeRobot has
no place for a frame without one, so it is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.data.storage.storage import (
    PLAYABLE,
    Frames,
    Storage,
    link,
    read_video,
    write_video,
)
from streamdit_gym.errors import require
from streamdit_gym.files import atomic_write, write_text

CAMERA = "observation.images.top"
CHUNK = 1000  # files per folder
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where something stands in the data set.

    Attributes:
        file: number of the data file, and of the film that goes with it, without holes.
        episode: number of the episode.
        frame: frames before it in the data set.
        second: seconds before it in its film.
    """

    file: int
    episode: int
    frame: int
    second: float


class LeRobot(Storage):
    """``lerobot/`` holds ``meta/``, ``data/``, ``videos/`` as LeRobot asks for, and a card;
    shards are ``shard-00000.mp4``.
    """

    needs = ("pyarrow",)
    export_name = "lerobot"

    def write(
        self, folder: Path, index: int, frames: Frames, fps: float, rows: list[dict[str, Any]]
    ) -> None:
        """Write a shard's episodes one behind the other into one film,
        and keep its pictures' statistics.
        """
        with atomic_write(self._film(folder, index)) as part:
            write_video(part, frames[:, :-1].reshape(-1, *frames.shape[2:]), fps, PLAYABLE)
        write_text(
            self._pictures(folder, index),
            json.dumps([_picture_stats(episode[:-1]) for episode in frames]),
        )

    def read(self, folder: Path, index: int, episodes: int) -> Frames:
        """Read a shard's film."""
        path = self._film(folder, index)
        if not path.is_file():  # where older versions kept it
            path = (
                folder
                / "videos"
                / CAMERA
                / f"chunk-{index // CHUNK:03d}"
                / f"file-{index % CHUNK:03d}.mp4"
            )
        frames = read_video(path)
        return frames.reshape(episodes, -1, *frames.shape[1:])

    def files(self, folder: Path, index: int) -> list[Path]:
        """Return the film and the statistics."""
        return [
            path
            for path in (self._film(folder, index), self._pictures(folder, index))
            if path.exists()
        ]

    def export(
        self, folder: Path, place: Path, meta: dict[str, Any], rows: list[dict[str, Any]]
    ) -> None:
        """Number the films and write the tables."""
        pa = require("pyarrow", "generate", "a LeRobot data set")
        parquet = require("pyarrow.parquet", "generate", "a LeRobot data set")
        tasks = sorted({prompt for row in rows for prompt in row["prompts"]})
        numbers = {prompt: number for number, prompt in enumerate(tasks)}
        (place / EPISODES).parent.mkdir(parents=True)
        writer: Any = None
        totals = []
        at = _Place(file=0, episode=0, frame=0, second=0.0)
        for index, group in groupby(rows, lambda row: row["shard"]):
            link(self._film(folder, index), place / "videos" / CAMERA / _numbered(at.file, "mp4"))
            pictures = json.loads(self._pictures(folder, index).read_text())
            with np.load(folder / f"shard-{index:05d}.npz") as file:
                arrays = dict(file)
            episodes, tables, stats = [], [], []
            for row in group:
                columns = _columns(meta, numbers, arrays, row, at)
                length = len(columns["index"])
                stats.append(
                    {name: _stats(values, length) for name, values in columns.items()}
                    | {CAMERA: pictures[row["row"]]}
                )
                end = at.second + length / meta["fps"]
                episodes.append(_episode(row, at, length, end, stats[-1]))
                tables.append(_table(pa, columns))
                at = _Place(
                    file=at.file, episode=at.episode + 1, frame=at.frame + length, second=end
                )
            _write_groups(parquet, place / "data" / _numbered(at.file, "parquet"), tables)
            table = pa.Table.from_pylist(episodes)
            writer = writer or parquet.ParquetWriter(
                place / EPISODES, table.schema, compression="snappy"
            )
            writer.write_table(table)
            totals.append(_joined(stats))
            at = _Place(file=at.file + 1, episode=at.episode, frame=at.frame, second=0.0)
        writer.close()
        _write_tasks(pa, parquet, place / "meta/tasks.parquet", tasks)
        (place / "meta/stats.json").write_text(json.dumps(_joined(totals), indent=1))
        (place / "meta/info.json").write_text(
            json.dumps(_info(meta, at.episode, tasks, at.frame), indent=1)
        )
        (place / "README.md").write_text(_card(meta, at.episode, at.frame))

    @staticmethod
    def _film(folder: Path, index: int) -> Path:
        return folder / f"shard-{index:05d}.mp4"

    @staticmethod
    def _pictures(folder: Path, index: int) -> Path:
        return folder / f"pictures-{index:05d}.json"


def _numbered(number: int, kind: str) -> str:
    return f"chunk-{number // CHUNK:03d}/file-{number % CHUNK:03d}.{kind}"


def _columns(
    meta: dict[str, Any],
    numbers: dict[str, int],
    arrays: dict[str, np.ndarray],
    row: dict[str, Any],
    at: _Place,
) -> dict[str, np.ndarray]:
    """Return an episode's columns.

    Args:
        meta: ``meta.json``.
        numbers: of the prompts, which LeRobot calls tasks.
        arrays: of the episode's shard.
        row: what is said about the episode.
        at: where it begins.
    """
    actions = arrays["actions"][row["row"]].astype(np.int64)
    steps = len(actions)
    frame = np.arange(steps)
    return {
        "observation.state": arrays["states"][row["row"], :steps].astype(np.float32),
        "action": np.array(meta["action_vectors"], dtype=np.float32)[actions],
        "menu_index": actions,
        "next.reward": arrays["rewards"][row["row"], :, meta["tasks"].index(row["task"])].astype(
            np.float32
        ),
        "next.done": frame == steps - 1,
        "next.success": np.array(row["successes"], dtype=bool),
        "timestamp": (frame / meta["fps"]).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(steps, at.episode),
        "index": at.frame + frame,
        "task_index": np.array([numbers[prompt] for prompt in row["prompts"]]),
    }


def _episode(
    row: dict[str, Any], at: _Place, length: int, end_second: float, stats: dict[str, Any]
) -> dict[str, Any]:
    """Return an episode's row of ``meta/episodes``."""
    chunk, file = divmod(at.file, CHUNK)
    return {
        "episode_index": at.episode,
        "tasks": sorted(set(row["prompts"])),
        "length": length,
        "data/chunk_index": chunk,
        "data/file_index": file,
        "dataset_from_index": at.frame,
        "dataset_to_index": at.frame + length,
        f"videos/{CAMERA}/chunk_index": chunk,
        f"videos/{CAMERA}/file_index": file,
        f"videos/{CAMERA}/from_timestamp": at.second,
        f"videos/{CAMERA}/to_timestamp": end_second,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
        **{
            f"stats/{name}/{kind}": value
            for name, parts in stats.items()
            for kind, value in parts.items()
        },
    }


def _write_groups(parquet: Any, path: Path, tables: list[Any]) -> None:
    """Write a row group per episode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with parquet.ParquetWriter(path, tables[0].schema, compression="snappy") as writer:
        for table in tables:
            writer.write_table(table)


def _write_tasks(pa: Any, parquet: Any, path: Path, tasks: list[str]) -> None:
    columns = {"__index_level_0__": tasks, "task_index": list(range(len(tasks)))}
    table = pa.table(columns).replace_schema_metadata({b"pandas": json.dumps(_pandas()).encode()})
    parquet.write_table(table, path, compression="snappy")


def _table(pa: Any, columns: dict[str, np.ndarray]) -> Any:
    """Return one episode's frames; vectors become lists of fixed size."""

    def column(values: np.ndarray) -> Any:
        if values.ndim == 1 or values.shape[1] == 1:
            return pa.array(values.ravel())
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])

    return pa.table({name: column(values) for name, values in columns.items()})


def _stats(values: np.ndarray, count: int) -> dict[str, Any]:
    """Return what LeRobot keeps of a feature: per number, over all frames."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0)}
    found |= dict(zip(QUANTILES, np.quantile(flat, list(QUANTILES.values()), axis=0), strict=True))
    return {name: value.tolist() for name, value in found.items()} | {"count": [count]}


def _picture_stats(frames: UInt8[np.ndarray, "f h w 3"]) -> dict[str, Any]:
    """Return the same of an episode's pictures, per colour and from 0 to 1; there are 256 levels,
    so counting them says all.
    """
    counts = np.stack(
        [np.bincount(frames[..., colour].ravel(), minlength=256) for colour in range(3)]
    )
    level, there = np.arange(256) / 255, counts > 0
    total, up_to = counts.sum(1, keepdims=True), counts.cumsum(1)
    mean = (counts * level).sum(1, keepdims=True) / total
    found = {
        "min": level[there.argmax(1)],
        "max": level[255 - there[:, ::-1].argmax(1)],
        "mean": mean[:, 0],
        "std": np.sqrt((counts * (level - mean) ** 2).sum(1) / total[:, 0]),
    }
    for name, share in QUANTILES.items():
        rank = share * (total[:, 0] - 1)  # between two of the sorted values, as numpy has it
        low, high = (
            np.array(
                [
                    np.searchsorted(row, place, "right")
                    for row, place in zip(up_to, whole, strict=True)
                ]
            )
            for whole in (np.floor(rank), np.ceil(rank))
        )
        found[name] = level[low] + (rank - np.floor(rank)) * (level[high] - level[low])
    return {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()} | {
        "count": [len(frames)]
    }


def _joined(totals: list[dict[str, Any]]) -> dict[str, Any]:
    """Join the statistics of parts; quantiles are the means of the parts',
    weighted by their length.
    """
    made = {}
    for name in totals[0]:
        parts = [{kind: np.array(value) for kind, value in total[name].items()} for total in totals]
        weight = np.array([part["count"][0] for part in parts], dtype=float)
        weight /= weight.sum()

        def mean(values: list[np.ndarray], weight: np.ndarray = weight) -> np.ndarray:
            return np.tensordot(weight, np.stack(values), axes=1)

        middle = mean([part["mean"] for part in parts])
        spread = np.sqrt(mean([part["std"] ** 2 + (part["mean"] - middle) ** 2 for part in parts]))
        joined = {
            "min": np.min([part["min"] for part in parts], axis=0),
            "max": np.max([part["max"] for part in parts], axis=0),
            "mean": middle,
            "std": spread,
            **{kind: mean([part[kind] for part in parts]) for kind in QUANTILES},
        }
        made[name] = {kind: value.tolist() for kind, value in joined.items()} | {
            "count": [int(sum(part["count"][0] for part in parts))]
        }
    return made


def _pandas() -> dict[str, Any]:
    """Return the note by which pandas finds the tasks' names as its index."""
    text = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {
        "name": "task_index",
        "field_name": "task_index",
        "pandas_type": "int64",
        "numpy_type": "int64",
        "metadata": None,
    }
    return {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [],
        "pandas_version": "2.2.0",
        "columns": [number, {"name": None, "field_name": "__index_level_0__", **text}],
        "creator": {"library": "pyarrow", "version": "1"},
    }


def _info(meta: dict[str, Any], episodes: int, tasks: list[str], frames: int) -> dict[str, Any]:
    return {
        "codebase_version": "v3.0",
        "robot_type": meta["world"],
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": len(tasks),
        "chunks_size": CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": round(meta["fps"]),
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": _features(meta),
    }


def _features(meta: dict[str, Any]) -> dict[str, Any]:
    size = meta["size"]
    video = {
        "video.height": size,
        "video.width": size,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": round(meta["fps"]),
        "video.channels": 3,
        "has_audio": False,
    }
    singles = {
        "menu_index": "int64",
        "next.reward": "float32",
        "next.done": "bool",
        "next.success": "bool",
        "timestamp": "float32",
        "frame_index": "int64",
        "episode_index": "int64",
        "index": "int64",
        "task_index": "int64",
    }
    return {
        CAMERA: {
            "dtype": "video",
            "shape": [size, size, 3],
            "names": ["height", "width", "channels"],
            "info": video,
        },
        "observation.state": _vector(meta["state_names"]),
        "action": _vector(meta["action_names"]),
        **{name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in singles.items()},
    }


def _vector(names: list[str]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": list(names)}


def _card(meta: dict[str, Any], episodes: int, frames: int) -> str:
    """Return the card of the data set, by which the Hub and `datasets.load_dataset` know what is
    data.
    """
    licence = f"license: {meta['license'].lower()}\n" if meta["license"] else ""
    menu = "\n".join(
        f"| {number} | {phrases[0]} | {', '.join(f'{value:.3g}' for value in vector)} |"
        for number, (phrases, vector) in enumerate(
            zip(meta["menu"], meta["action_vectors"], strict=True)
        )
    )
    return f"""---
{licence}task_categories:
- robotics
tags:
- LeRobot
- synthetic
- streamdit-gym
configs:
- config_name: default
  data_files: data/*/*.parquet
---

# Episodes generated by the world {meta["world"]}

{episodes} episodes, {frames} frames of {meta["size"]} x {meta["size"]} pixels at {meta["fps"]:g} frames a second, in LeRobot's layout,
version 3.0. Nothing here was filmed: a video diffusion transformer drew every frame, and states, rewards and successes are what
it reads off its own frames.

- `action`: float32, {", ".join(meta["action_names"])}; `menu_index` is the same action as a number of the menu.
- `task_index`: the prompt at that frame (`meta/tasks.parquet`).
- `next.success`: whether the task was done after the frame; episodes go on after it, with rewards of 0.

| menu_index | prompt | action |
|---|---|---|
{menu}
"""
