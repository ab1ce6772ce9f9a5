"""Make the file system fail at its n-th change."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from streamdit_gym.bundle import files as bundle_files

CHANGES = ("mkdir", "chmod", "replace", "unlink", "rmdir")


class Killed(BaseException):
    """Stands for SIGKILL: nothing that runs afterwards changes a file, clearing up included."""


@contextmanager
def failing(nth: int, *, killed: bool) -> Iterator[Callable[[], bool]]:
    """Fail at the n-th change of a file.

    Args:
        nth: which, from 0.
        killed: raise `Killed` there and at every change after it; else a full disk's error, once.

    Yields:
        Whether it has failed.
    """
    count = 0

    def step(error: BaseException) -> None:
        nonlocal count
        count += 1
        if count == nth + 1 or (killed and count > nth + 1):
            raise error

    def breaking(change: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
        def changed(*args: Any, **options: Any) -> Any:
            step(error)
            return change(*args, **options)

        return changed

    full = Killed() if killed else OSError(errno.ENOSPC, "No space left on device")
    rust = Killed() if killed else SafetensorError("I/O error: No space left on device")
    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, breaking(getattr(os, name), full))
        patch.setattr(Path, "write_text", breaking(Path.write_text, full))
        patch.setattr(bundle_files, "save_file", breaking(bundle_files.save_file, rust))
        yield lambda: count > nth
