"""Reading the tables and descriptions of a LeRobot data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamdit_gym.errors import DatasetError, require

VERSION = "v3"
TASK_COLUMNS = ("__index_level_0__", "task")
INFO_KEYS = ("fps", "features", "data_path")
PURPOSE = "reading LeRobot data"


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        DatasetError: if the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(content, dict):
        raise _unreadable(path, "no JSON object")
    return content


def read_info(folder: Path) -> dict[str, Any]:
    """Return ``meta/info.json`` of a data set of version 3.

    Raises:
        DatasetError: if it cannot be read, lacks something, or is of another version.
    """
    path = folder / "meta/info.json"
    info = read_json(path)
    version = str(info.get("codebase_version"))
    if not version.startswith(VERSION):
        raise DatasetError(
            "a LeRobot data set of another version",
            given=f"{path}: codebase_version {version}",
            allowed="v3.0",
            remedy="convert it with LeRobot: python -m "
            "lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id=...",
        )
    missing = [key for key in INFO_KEYS if key not in info]
    if missing or not isinstance(info["features"], dict):
        raise DatasetError(
            "info.json of a LeRobot data set lacks something",
            given=f"{path} without {', '.join(missing) or 'a table of features'}",
            allowed=", ".join(INFO_KEYS),
            remedy="get the data set again, or record it again",
        )
    return info


def read_table(path: Path, columns: Sequence[str] | None = None) -> Any:
    """Return a table.

    Args:
        path: a parquet file.
        columns: their names; None: all.

    Raises:
        DatasetError: if it cannot be read, or lacks a column.
    """
    pa = require("pyarrow", "generate", PURPOSE)
    parquet = require("pyarrow.parquet", "generate", PURPOSE)
    try:
        names = parquet.read_schema(path).names
        missing = [name for name in columns or () if name not in names]
        if missing:
            raise DatasetError(
                "a LeRobot data set lacks a column",
                given=f"{path} without {', '.join(missing)}",
                allowed="a column for every feature of meta/info.json that is no video",
                remedy="get the file again, or take the feature out of meta/info.json",
            )
        return parquet.read_table(path, columns=None if columns is None else list(columns))
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def column_values(table: Any, name: str) -> np.ndarray:
    """Return a column as numbers, one row for each row of the table.

    Raises:
        ValueError: if its rows are not numbers, or of different length.
    """
    pa = require("pyarrow", "generate", PURPOSE)
    column = table.column(name)
    chunks = column.chunks or [pa.array([], column.type)]
    values = pa.concat_arrays(chunks)
    while pa.types.is_nested(values.type):
        values = values.flatten()
    try:
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} has values that are no numbers") from error
    if len(numbers) % max(1, len(table)):
        raise ValueError(f"{name} has rows of different length")
    return numbers.reshape(len(table), -1)


def read_episodes(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of ``meta/episodes``, without their statistics, in order.

    Raises:
        DatasetError: if there are none, or they cannot be read.
    """
    parquet = require("pyarrow.parquet", "generate", PURPOSE)
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("meta/episodes/*/*.parquet")):
        try:
            names = parquet.read_schema(path).names
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        columns = [name for name in names if not name.startswith("stats/")]
        rows += read_table(path, columns).to_pylist()
    if not rows:
        raise DatasetError(
            "a LeRobot data set without episodes",
            given=folder / "meta/episodes",
            allowed="meta/episodes/chunk-000/file-000.parquet",
            remedy="record some, or get the folder whole: also meta, data and videos",
        )
    return sorted(rows, key=lambda row: row["episode_index"])


def read_tasks(folder: Path) -> dict[int, str]:
    """Return the tasks by their number; none if the data set names none.

    Raises:
        DatasetError: if the table cannot be read.
    """
    path = folder / "meta/tasks.parquet"
    if not path.is_file():
        return {}
    table = read_table(path)
    names = [name for name in TASK_COLUMNS if name in table.column_names]
    if not names or "task_index" not in table.column_names:
        raise _unreadable(path, f"columns {', '.join(table.column_names)}")
    numbers = table.column("task_index").to_pylist()
    texts = table.column(names[0]).to_pylist()
    return dict(zip(numbers, texts, strict=True))


def _unreadable(path: Path, reason: object) -> DatasetError:
    return DatasetError(
        "a file of a LeRobot data set cannot be read",
        given=f"{path}: {reason}",
        allowed="LeRobot's layout, version 3.0",
        remedy="get the file again",
    )
