"""Small recordings of a moving square, as other people's programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock
from warnings import catch_warnings, simplefilter

import numpy as np

from streamdit_gym.data.video import PLAYABLE, write_video

CAMERAS = ("observation.images.front", "observation.images.wrist")
FPS = 20
ACTION_NAMES = ["shoulder_pan.pos", "gripper.pos"]
STATE_NAMES = ["x", "y"]


def moving_square(number: int, frames: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Return frames in which a bright square moves to the right, on a ground of its own."""
    pictures = np.full((frames, *size, 3), 40 + 20 * number, dtype=np.uint8)
    for frame in range(frames):
        left = (2 * frame) % (size[1] - 16)
        pictures[frame, 16:32, left : left + 16] = (240, 200, 60)
    return pictures


def actions_of(number: int, frames: int) -> np.ndarray:
    """Return two numbers for every frame, both of which vary."""
    time = np.arange(frames)
    columns = [np.sin(time / 3 + number), 10 * np.cos(time / 5 + number)]
    return np.stack(columns, axis=1).astype(np.float32)


def write_lerobot(folder: Path, lengths: tuple[int, ...], **changes: Any) -> Path:
    """Write a LeRobot data set with two cameras, all episodes in one file each.

    Args:
        folder: the data set.
        lengths: rows of each episode.
        changes: ``columns``: what to do with the table's columns; ``info``: entries of
            ``meta/info.json``; ``statistics``: False leaves ``meta/stats.json`` out.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns, rows, start = [], [], 0
    for number, length in enumerate(lengths):
        columns.append(_columns(number, length, start))
        row = {
            "episode_index": number,
            "tasks": [f"Push  the square {number % 2}"],
            "length": length,
            "data/chunk_index": 0,
            "data/file_index": 0,
        }
        for camera in CAMERAS:
            row |= {f"videos/{camera}/chunk_index": 0, f"videos/{camera}/file_index": 0}
            row[f"videos/{camera}/from_timestamp"] = start / FPS
            row[f"videos/{camera}/to_timestamp"] = (start + length) / FPS
        rows.append(row)
        start += length
    for place, camera in enumerate(CAMERAS):
        path = folder / f"videos/{camera}/chunk-000/file-000.mp4"
        path.parent.mkdir(parents=True)
        films = [moving_square(number + place, length) for number, length in enumerate(lengths)]
        write_video(path, np.concatenate(films), FPS, PLAYABLE)
    table = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    table = changes.get("columns", lambda columns: columns)(table)
    for path in ("data/chunk-000", "meta/episodes/chunk-000"):
        (folder / path).mkdir(parents=True)
    content = pa.table({name: _arrow(pa, values) for name, values in table.items()})
    parquet.write_table(content, folder / "data/chunk-000/file-000.parquet")
    parquet.write_table(
        pa.Table.from_pylist(rows), folder / "meta/episodes/chunk-000/file-000.parquet"
    )
    tasks = {
        "__index_level_0__": ["Push  the square 0", "Push  the square 1"],
        "task_index": [0, 1],
    }
    parquet.write_table(pa.table(tasks), folder / "meta/tasks.parquet")
    info = _info() | changes.get("info", {})
    (folder / "meta/info.json").write_text(json.dumps(info))
    if changes.get("statistics", True):
        statistics = {}
        for name in ("action", "next.reward", "next.success"):
            values = np.atleast_2d(np.asarray(table[name], dtype=float).T).T
            statistics[name] = {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        (folder / "meta/stats.json").write_text(json.dumps(statistics))
    return folder


def write_minari(folder: Path, episodes: int, space: Any, actions: Any, **changes: Any) -> Path:
    """Write a Minari data set whose observations are pictures, and return its folder.

    Args:
        folder: of all data sets.
        episodes: how many.
        space: of actions.
        actions: episode number and steps to actions.
        changes: ``observation_space`` and ``observations``.
    """
    import gymnasium
    import minari
    from minari.data_collector import EpisodeBuffer

    pictures = gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    buffers = []
    for number in range(episodes):
        steps = 6 + number
        film = moving_square(number, steps + 1, (32, 32))
        buffer = EpisodeBuffer(
            id=number,
            observations=changes.get("observations", lambda film: film)(film),
            actions=actions(number, steps),
            rewards=[0.5] * steps,
            terminations=[False] * (steps - 1) + [number % 2 == 0],
            truncations=[False] * (steps - 1) + [number % 2 == 1],
        )
        buffers.append(buffer)
    with mock.patch.dict("os.environ", MINARI_DATASETS_PATH=str(folder)), catch_warnings():
        simplefilter("ignore", UserWarning)  # it asks for an author
        minari.create_dataset_from_buffers(
            "test/square-v0",
            buffers,
            observation_space=changes.get("observation_space", pictures),
            action_space=space,
            jpeg_encoding=False,
        )
    return folder / "test/square-v0"


def write_videos(folder: Path, lines: list[dict[str, Any]], frames: int = 25) -> Path:
    """Write a caption file and the videos that its lines name, of so many frames each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(dict.fromkeys(line["file"] for line in lines)):
        write_video(folder / name, moving_square(number, frames), FPS, PLAYABLE)
    write_captions(folder, lines)
    return folder


def write_captions(folder: Path, lines: list[Any]) -> None:
    (folder / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _columns(number: int, length: int, start: int) -> dict[str, np.ndarray]:
    rows = np.arange(length)
    return {
        "observation.state": np.stack([rows, rows * 0.5], axis=1).astype(np.float32),
        "action": actions_of(number, length),
        "next.reward": rows.astype(np.float32),
        "next.done": rows == length - 1,
        "next.success": (rows == length - 1) & (number % 2 == 0),
        "timestamp": (rows / FPS).astype(np.float32),
        "frame_index": rows,
        "episode_index": np.full(length, number),
        "index": start + rows,
        "task_index": np.full(length, number % 2),
    }


def _arrow(pa: Any, values: Any) -> Any:
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values)


def _info() -> dict[str, Any]:
    features: dict[str, Any] = {
        camera: {"dtype": "video", "shape": [48, 64, 3], "info": {"video.is_depth_map": False}}
        for camera in CAMERAS
    }
    features["observation.state"] = {"dtype": "float32", "shape": [2], "names": STATE_NAMES}
    features["action"] = {"dtype": "float32", "shape": [2], "names": {"motors": ACTION_NAMES}}
    for name, dtype in (
        ("next.reward", "float32"),
        ("next.done", "bool"),
        ("next.success", "bool"),
        ("task_index", "int64"),
    ):
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return {
        "codebase_version": "v3.0",
        "fps": FPS,
        "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
