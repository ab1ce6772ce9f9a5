"""The parquet tables of a LeRobot data set: frames, episodes and tasks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from streamdit_gym.data.formats.frame_format import EpisodeRecord
from streamdit_gym.data.formats.lerobot_metadata import CAMERA, FILES_PER_FOLDER, pandas_note
from streamdit_gym.data.formats.lerobot_statistics import Statistics
from streamdit_gym.errors import require

COMPRESSION = "snappy"


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where an episode begins in the data set.

    Attributes:
        file: number of the data file, and of the video that goes with it, without holes.
        episode: number of the episode.
        frame: frames before it in the data set.
        second: seconds before it in its video.
    """

    file: int = 0
    episode: int = 0
    frame: int = 0
    second: float = 0.0


def numbered_path(number: int, suffix: str) -> Path:
    """Return where LeRobot looks for the data file or the video of this number."""
    folder = number // FILES_PER_FOLDER
    return Path(f"chunk-{folder:03d}") / f"file-{number % FILES_PER_FOLDER:03d}.{suffix}"


def rewards_of_task(
    meta: dict[str, Any], record: EpisodeRecord, rewards: Float[np.ndarray, "s k"]
) -> Float[np.ndarray, " s"]:
    """Return an episode's rewards of the task that counts; zeros in a world without tasks."""
    if not record["task"]:
        return np.zeros(len(rewards), dtype=np.float32)
    of_task: Float[np.ndarray, " s"] = rewards[:, meta["tasks"].index(record["task"])]
    return of_task


def frame_columns(
    meta: dict[str, Any],
    task_numbers: dict[str, int],
    arrays: dict[str, np.ndarray],
    record: EpisodeRecord,
    start: Position,
) -> dict[str, np.ndarray]:
    """Return the columns of an episode's frames.

    Args:
        meta: content of ``meta.json``.
        task_numbers: numbers of the prompts, which LeRobot calls tasks.
        arrays: the arrays of the episode's shard.
        record: the episode's record.
        start: where the episode begins.
    """
    row = record["row"]
    actions = arrays["actions"][row]
    num_frames = len(actions)
    frames = np.arange(num_frames)
    rewards = rewards_of_task(meta, record, arrays["rewards"][row])
    columns: dict[str, np.ndarray] = {}
    if meta["state_names"]:
        columns["observation.state"] = arrays["states"][row, :num_frames].astype(np.float32)
    if meta["menu"]:
        numbers = actions.astype(np.int64)
        vectors = np.array(meta["action_vectors"], dtype=np.float32)
        columns |= {"action": vectors[numbers], "menu_index": numbers}
    else:
        columns["action"] = actions.astype(np.float32)
    return {
        **columns,
        "next.reward": rewards.astype(np.float32),
        "next.done": frames == num_frames - 1,
        "next.success": np.array(record["successes"], dtype=bool),
        "timestamp": (frames / meta["fps"]).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(num_frames, start.episode),
        "index": start.frame + frames,
        "task_index": np.array([task_numbers[prompt] for prompt in record["prompts"]]),
    }


def frame_table(columns: dict[str, np.ndarray]) -> Any:
    """Return one episode's frames as a table; vectors become lists of fixed size."""
    pa = require("pyarrow", "generate", "a LeRobot data set")
    arrays = {}
    for name, values in columns.items():
        array = pa.array(values.ravel())
        if values.ndim > 1 and values.shape[1] > 1:
            array = pa.FixedSizeListArray.from_arrays(array, values.shape[1])
        arrays[name] = array
    return pa.table(arrays)


def episode_row(
    record: EpisodeRecord, start: Position, end: Position, statistics: dict[str, Statistics]
) -> dict[str, Any]:
    """Return an episode's row of ``meta/episodes``.

    Args:
        record: the episode's record.
        start: where it begins.
        end: where the next episode begins.
        statistics: of each feature.
    """
    folder, file = divmod(start.file, FILES_PER_FOLDER)
    row = {
        "episode_index": start.episode,
        "tasks": sorted(set(record["prompts"])),
        "length": end.frame - start.frame,
        "data/chunk_index": folder,
        "data/file_index": file,
        "dataset_from_index": start.frame,
        "dataset_to_index": end.frame,
        f"videos/{CAMERA}/chunk_index": folder,
        f"videos/{CAMERA}/file_index": file,
        f"videos/{CAMERA}/from_timestamp": start.second,
        f"videos/{CAMERA}/to_timestamp": end.second,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    for name, feature in statistics.items():
        for kind, value in feature.items():
            row[f"stats/{name}/{kind}"] = value
    return row


def write_row_groups(path: Path, tables: list[Any]) -> None:
    """Write a parquet file with a row group per table."""
    parquet = require("pyarrow.parquet", "generate", "a LeRobot data set")
    path.parent.mkdir(parents=True, exist_ok=True)
    with parquet.ParquetWriter(path, tables[0].schema, compression=COMPRESSION) as writer:
        for table in tables:
            writer.write_table(table)


def write_tasks(path: Path, tasks: list[str]) -> None:
    """Write the prompts with their numbers; pandas takes the prompts as its index."""
    pa = require("pyarrow", "generate", "a LeRobot data set")
    parquet = require("pyarrow.parquet", "generate", "a LeRobot data set")
    table = pa.table({"__index_level_0__": tasks, "task_index": list(range(len(tasks)))})
    note = json.dumps(pandas_note()).encode()
    table = table.replace_schema_metadata({b"pandas": note})
    parquet.write_table(table, path, compression=COMPRESSION)
