"""Whole files or none, and one process at a time in a folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamdit_gym.errors import BusyError, StorageError

PART = "part-"  # begins the names of files that are not whole yet


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces `path` in one move at the end.

    After an error nothing has changed. The file gets the permissions that the process gives to new
    files. Two processes may write the same path: the last one wins, and the file is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # a folder of its own, so that libraries that look at the suffix, or that write beside a file,
    # do no harm
    scratch = Path(tempfile.mkdtemp(prefix=PART, dir=path.parent))
    try:
        part = scratch / path.name
        yield part
        part.chmod(0o666 & ~_umask())
        os.replace(part, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(text)


def write_json(path: Path, content: Any) -> None:
    """Write a readable JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1))


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder, which takes the place of `path` at the end.

    After an error nothing has changed.
    """
    scratch = Path(tempfile.mkdtemp(prefix=PART, dir=path.parent))
    try:
        fresh = scratch / path.name
        fresh.mkdir()
        yield fresh
        if path.exists():
            os.replace(path, scratch / "old")
        os.replace(fresh, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_parts(folder: Path) -> None:
    """Remove what killed processes left; call it only while holding `folder_lock`."""
    for part in folder.glob(f"{PART}*"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if missing, so that no other process works in it.

    The system releases the lock when the process ends, however it ends, and nothing is left in the
    folder. Where the system or the file system has no such locks (Windows, some network drives),
    nothing is locked.

    Raises:
        BusyError: if another process holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                "another process works here",
                given=folder,
                remedy="wait until it ends, or use another folder",
            ) from error
        except OSError:  # the file system has no locks
            pass
        yield
    finally:
        os.close(descriptor)


@contextmanager
def writing_to(path: Path, remedy: str) -> Iterator[None]:
    """Turn the system's errors (disk full, read-only, no permission) into a clear one.

    Args:
        path: what is written, for the error's text.
        remedy: what to do once there is room.

    Raises:
        StorageError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise StorageError("cannot write", given=f"{path}: {error}", remedy=remedy) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
