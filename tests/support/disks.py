"""A small disk of its own, to be filled or made read-only;
only where this process may mount one.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, megabytes: int = 3) -> Iterator[Path]:
    """Mount a disk in memory; skip the test where that is not allowed."""
    place.mkdir(parents=True)
    if shutil.which("mount") is None or _run(
        "mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)
    ):
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        assert not _run("umount", str(place))


def remount_read_only(disk: Path) -> None:
    """Let nothing be written any more."""
    assert not _run("mount", "-o", "remount,ro", str(disk))


def fill(disk: Path, leave: int = 0) -> Path:
    """Fill a disk but for so many bytes, and return the file that does."""
    path = disk / "fill"
    path.write_bytes(bytes(shutil.disk_usage(disk).free - leave))
    return path


def _run(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def no_space(*_: object) -> None:
    """Stand in for a call that writes to a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
