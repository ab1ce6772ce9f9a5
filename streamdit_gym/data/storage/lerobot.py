"""LeRobot data sets, version 3.0.

Takes: frames of whole episodes, arrays.  Gives: the layout that LeRobot reads, and the frames again.
Knows nothing of: the package lerobot.

Videos are written shard by shard; tables when all shards are there, since an episode's number depends on how many were kept before it.
The last frame of an episode has no action, and LeRobot has no place for a frame without one, so it is left out.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.data.storage.storage import PLAYABLE, Frames, Storage, read_video, replaced, write_video
from streamdit_gym.errors import require

CAMERA = "observation.images.top"
CHUNK = 1000  # files per folder
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


class LeRobot(Storage):
    """``meta/``, ``data/``, ``videos/`` as LeRobot asks for."""

    needs = ("pyarrow",)

    def write(self, folder: Path, index: int, frames: Frames, fps: float, rows: list[dict[str, Any]]) -> None:
        """Write a shard's episodes one behind the other into one film, and keep its pictures' statistics."""
        path = self._video(folder, index)
        shown = frames[:, :-1].reshape(-1, *frames.shape[2:])
        part = replaced(path)
        write_video(part, shown, fps, PLAYABLE)
        part.replace(path)
        stats = [_picture_stats(episode[:-1]) for episode in frames]
        made = replaced(folder / "meta" / "pictures" / f"{index:05d}.json")
        made.write_text(json.dumps(stats))
        made.replace(folder / "meta" / "pictures" / f"{index:05d}.json")

    def read(self, folder: Path, index: int, episodes: int) -> Frames:
        """Read a shard's film."""
        frames = read_video(self._video(folder, index))
        return frames.reshape(episodes, -1, *frames.shape[1:])

    def finish(self, folder: Path, meta: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        """Write the tables."""
        pa, parquet = require("pyarrow", "generate", "a LeRobot data set"), require("pyarrow.parquet", "generate", "a LeRobot data set")
        tasks = sorted({said for row in rows for said in row["prompts"]})
        number = {said: i for i, said in enumerate(tasks)}
        totals: list[dict[str, Any]] = []
        at = episodes = 0
        place_of_episodes = folder / "meta/episodes/chunk-000/file-000.parquet"
        listed: Any = None
        for index, of_shard in groupby(rows, lambda row: row["shard"]):  # a file has its shard's number; where nothing was kept is none
            with np.load(folder / f"shard-{index:05d}.npz") as arrays:
                actions, rewards, states = arrays["actions"], arrays["rewards"], arrays["states"]
            pictures = json.loads((folder / "meta" / "pictures" / f"{index:05d}.json").read_text())
            begun, tables, about, shard_stats = 0.0, [], [], []
            for row in of_shard:
                i, steps = row["row"], actions.shape[1]
                place = np.arange(steps)
                columns = {
                    "observation.state": states[i, :steps].astype(np.float32), "action": actions[i].astype(np.int64),
                    "next.reward": rewards[i, :, meta["tasks"].index(row["task"])].astype(np.float32),
                    "next.done": place == steps - 1, "next.success": np.array(row["successes"]),
                    "timestamp": (place / meta["fps"]).astype(np.float32), "frame_index": place,
                    "episode_index": np.full(steps, episodes), "index": at + place,
                    "task_index": np.array([number[said] for said in row["prompts"]]),
                }  # fmt: skip
                tables.append(_table(pa, columns))
                stats = {name: _stats(values, steps) for name, values in columns.items()} | {CAMERA: pictures[i]}
                end = begun + steps / meta["fps"]
                about.append(
                    {
                        "episode_index": episodes, "tasks": sorted(set(row["prompts"])), "length": steps,
                        "data/chunk_index": index // CHUNK, "data/file_index": index % CHUNK, "dataset_from_index": at,
                        "dataset_to_index": at + steps, f"videos/{CAMERA}/chunk_index": index // CHUNK,
                        f"videos/{CAMERA}/file_index": index % CHUNK, f"videos/{CAMERA}/from_timestamp": begun,
                        f"videos/{CAMERA}/to_timestamp": end, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0,
                        **{f"stats/{name}/{kind}": value for name, of in stats.items() for kind, value in of.items()},
                    }
                )  # fmt: skip
                shard_stats.append(stats)
                at, begun, episodes = at + steps, end, episodes + 1
            data = replaced(folder / f"data/chunk-{index // CHUNK:03d}/file-{index % CHUNK:03d}.parquet")
            with parquet.ParquetWriter(data, tables[0].schema, compression="snappy") as writer:
                for table in tables:
                    writer.write_table(table)  # a row group per episode
            data.replace(data.with_name(data.name.removeprefix("part-")))
            totals.append(_joined(shard_stats))
            table = pa.Table.from_pylist(about)
            listed = listed or parquet.ParquetWriter(replaced(place_of_episodes), table.schema, compression="snappy")
            listed.write_table(table)
        listed.close()
        replaced(place_of_episodes).replace(place_of_episodes)
        whole = {"__index_level_0__": tasks, "task_index": list(range(len(tasks)))}
        named = pa.table(whole).replace_schema_metadata({b"pandas": json.dumps(_pandas()).encode()})
        self._parquet(parquet, named, folder / "meta/tasks.parquet")
        self._json(folder / "meta/stats.json", _joined(totals))
        self._json(folder / "meta/info.json", _info(meta, episodes, tasks, at))

    def _video(self, folder: Path, index: int) -> Path:
        return folder / "videos" / CAMERA / f"chunk-{index // CHUNK:03d}" / f"file-{index % CHUNK:03d}.mp4"

    @staticmethod
    def _parquet(parquet: Any, table: Any, path: Path) -> None:
        part = replaced(path)
        parquet.write_table(table, part, compression="snappy")
        part.replace(path)

    @staticmethod
    def _json(path: Path, content: Any) -> None:
        part = replaced(path)
        part.write_text(json.dumps(content, indent=1))
        part.replace(path)


def _table(pa: Any, columns: dict[str, np.ndarray]) -> Any:
    """Return one episode's frames; vectors become lists of fixed size."""

    def column(values: np.ndarray) -> Any:
        if values.ndim == 1:
            return pa.array(values)
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])

    return pa.table({name: column(values) for name, values in columns.items()})


def _stats(values: np.ndarray, count: int) -> dict[str, Any]:
    """Return what LeRobot keeps of a feature: per number, over all frames."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0)}
    found |= dict(zip(QUANTILES, np.quantile(flat, list(QUANTILES.values()), axis=0), strict=True))
    return {name: value.tolist() for name, value in found.items()} | {"count": [count]}


def _picture_stats(frames: UInt8[np.ndarray, "f h w 3"]) -> dict[str, Any]:
    """Return the same of an episode's pictures, per colour and from 0 to 1; there are 256 levels, so counting them says all."""
    counts = np.stack([np.bincount(frames[..., colour].ravel(), minlength=256) for colour in range(3)])
    level, there = np.arange(256) / 255, counts > 0
    total, up_to = counts.sum(1, keepdims=True), counts.cumsum(1)
    mean = (counts * level).sum(1, keepdims=True) / total
    found = {
        "min": level[there.argmax(1)], "max": level[255 - there[:, ::-1].argmax(1)], "mean": mean[:, 0],
        "std": np.sqrt((counts * (level - mean) ** 2).sum(1) / total[:, 0]),
    }  # fmt: skip
    for name, share in QUANTILES.items():
        rank = share * (total[:, 0] - 1)  # between two of the sorted values, as numpy has it
        low, high = (
            np.array([np.searchsorted(row, place, "right") for row, place in zip(up_to, whole, strict=True)])
            for whole in (np.floor(rank), np.ceil(rank))
        )
        found[name] = level[low] + (rank - np.floor(rank)) * (level[high] - level[low])
    return {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()} | {"count": [len(frames)]}


def _joined(totals: list[dict[str, Any]]) -> dict[str, Any]:
    """Join the statistics of parts; quantiles are the means of the parts', weighted by their length."""
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
            "min": np.min([part["min"] for part in parts], axis=0), "max": np.max([part["max"] for part in parts], axis=0),
            "mean": middle, "std": spread, **{kind: mean([part[kind] for part in parts]) for kind in QUANTILES},
        }  # fmt: skip
        made[name] = {kind: value.tolist() for kind, value in joined.items()} | {"count": [int(sum(part["count"][0] for part in parts))]}
    return made


def _pandas() -> dict[str, Any]:
    """Return the note by which pandas finds the tasks' names as its index."""
    text = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    return {
        "index_columns": ["__index_level_0__"], "column_indexes": [], "pandas_version": "2.2.0",
        "columns": [number, {"name": None, "field_name": "__index_level_0__", **text}], "creator": {"library": "pyarrow", "version": "1"},
    }  # fmt: skip


def _info(meta: dict[str, Any], episodes: int, tasks: list[str], frames: int) -> dict[str, Any]:
    size, fps = meta["size"], round(meta["fps"])
    video = {
        "video.height": size, "video.width": size, "video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False,
        "video.fps": fps, "video.channels": 3, "has_audio": False,
    }  # fmt: skip
    one = {"shape": [1], "names": None}
    features = {
        CAMERA: {"dtype": "video", "shape": [size, size, 3], "names": ["height", "width", "channels"], "info": video},
        "observation.state": {"dtype": "float32", "shape": [len(meta["state_names"])], "names": list(meta["state_names"])},
        "action": {"dtype": "int64", **one}, "next.reward": {"dtype": "float32", **one}, "next.done": {"dtype": "bool", **one},
        "next.success": {"dtype": "bool", **one}, "timestamp": {"dtype": "float32", **one}, "frame_index": {"dtype": "int64", **one},
        "episode_index": {"dtype": "int64", **one}, "index": {"dtype": "int64", **one}, "task_index": {"dtype": "int64", **one},
    }  # fmt: skip
    return {
        "codebase_version": "v3.0", "robot_type": meta["world"], "total_episodes": episodes, "total_frames": frames,
        "total_tasks": len(tasks), "chunks_size": CHUNK, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "fps": fps,
        "splits": {"train": f"0:{episodes}"}, "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4", "features": features,
    }  # fmt: skip
