"""The record of a generated shard: its episodes, and a fingerprint of every other file.

``shard-00000.json`` is written last. It names the other files of its shard with size and SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamdit_gym.data.formats.frame_format import FrameFormat
from streamdit_gym.files import write_text


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """The content of ``shard-00000.json``.

    Attributes:
        rows: one for each generated episode, kept or not.
        files: by path inside the data set, size and SHA-256; None in records of older versions.
    """

    rows: list[dict[str, Any]]
    files: dict[str, dict[str, Any]] | None

    @classmethod
    def read(cls, folder: Path, index: int) -> ShardRecord | None:
        """Return a shard's record; None if the file is missing or damaged."""
        try:
            content = json.loads(record_path(folder, index).read_text())
        except (OSError, ValueError, RecursionError):
            return None
        if isinstance(content, list):
            return cls(rows=content, files=None)
        try:
            return cls(rows=list(content["rows"]), files=dict(content["files"]))
        except (KeyError, TypeError, ValueError):
            return None

    @classmethod
    def write(
        cls, folder: Path, index: int, rows: list[dict[str, Any]], store: FrameFormat
    ) -> None:
        """Write a shard's record, once all of its other files are there."""
        files = {}
        for path in shard_files(folder, index, store):
            files[path.relative_to(folder).as_posix()] = _fingerprint(path)
        write_text(record_path(folder, index), json.dumps({"rows": rows, "files": files}))

    def damage(self, folder: Path, index: int, store: FrameFormat) -> str:
        """Return which file of the shard is missing or changed; empty if none is."""
        paths = {}
        for path in shard_files(folder, index, store):
            paths[path.relative_to(folder).as_posix()] = path
        if self.files is None:
            arrays = f"shard-{index:05d}.npz"
            needs_arrays = any(row["kept"] for row in self.rows)
            return f"{arrays} is missing" if needs_arrays and arrays not in paths else ""
        for name in sorted({*self.files, *paths}):
            if name not in paths:
                return f"{name} is missing"
            if self.files.get(name) != _fingerprint(paths[name]):
                return f"{name} is not what was written"
        return ""


def record_path(folder: Path, index: int) -> Path:
    """Return the path of a shard's record."""
    return folder / f"shard-{index:05d}.json"


def recorded_shards(folder: Path) -> list[int]:
    """Return the numbers of the shards that have a record, in order."""
    matches = (re.fullmatch(r"shard-(\d{5})\.json", path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def shard_files(folder: Path, index: int, store: FrameFormat) -> list[Path]:
    """Return the files of a shard on disk, without its record."""
    paths = list(store.files(folder, index))
    arrays = folder / f"shard-{index:05d}.npz"
    if arrays.exists():
        paths.append(arrays)
    return sorted(paths)


def remove_shard(folder: Path, index: int, store: FrameFormat) -> None:
    """Remove a shard, its record first."""
    record_path(folder, index).unlink(missing_ok=True)
    for path in shard_files(folder, index, store):
        path.unlink()


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
