"""What is on disk of a generated shard, and whether it is still what was written.

Takes: a folder, a shard's number.  Gives: what is said of its episodes, and its damage.  Knows
    nothing of: models.

``shard-00000.json`` is written last and names every other file of its shard with size and SHA-256.
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
    """What ``shard-00000.json`` says.

    Attributes:
        rows: one for each episode made, kept or not.
        files: by path inside the data set, size and SHA-256; None: an older version wrote it, which
            did not say.
    """

    rows: list[dict[str, Any]]
    files: dict[str, dict[str, Any]] | None

    @classmethod
    def read(cls, folder: Path, index: int) -> ShardRecord | None:
        """Return what is said of a shard; None if the file is missing or damaged."""
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
        """Say what a shard holds, once all of its files are there."""
        files = {
            path.relative_to(folder).as_posix(): _fingerprint(path)
            for path in shard_files(folder, index, store)
        }
        write_text(record_path(folder, index), json.dumps({"rows": rows, "files": files}))

    def damage(self, folder: Path, index: int, store: FrameFormat) -> str:
        """Return which file of a shard is missing or not what was written; empty if none is."""
        there = {
            path.relative_to(folder).as_posix(): path for path in shard_files(folder, index, store)
        }
        if self.files is None:
            lost = any(row["kept"] for row in self.rows) and f"shard-{index:05d}.npz" not in there
            return f"shard-{index:05d}.npz is missing" if lost else ""
        for name in sorted({*self.files, *there}):
            if name not in there:
                return f"{name} is missing"
            if self.files.get(name) != _fingerprint(there[name]):
                return f"{name} is not what was written"
        return ""


def record_path(folder: Path, index: int) -> Path:
    """Return where it is said what a shard holds."""
    return folder / f"shard-{index:05d}.json"


def recorded_shards(folder: Path) -> list[int]:
    """Return the numbers of the shards of which something is said, in order."""
    names = (re.fullmatch(r"shard-(\d{5})\.json", path.name) for path in folder.iterdir())
    return sorted(int(name[1]) for name in names if name)


def shard_files(folder: Path, index: int, store: FrameFormat) -> list[Path]:
    """Return the files of a shard that are there, its record left out."""
    arrays = folder / f"shard-{index:05d}.npz"
    return sorted([*store.files(folder, index), *([arrays] if arrays.exists() else [])])


def remove_shard(folder: Path, index: int, store: FrameFormat) -> None:
    """Remove a shard, its record first."""
    record_path(folder, index).unlink(missing_ok=True)
    for path in shard_files(folder, index, store):
        path.unlink()


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
