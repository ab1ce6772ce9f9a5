"""The files of a training run: written whole or not at all, by the first process alone."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from streamdit_gym.files import atomic_write, writing_to
from streamdit_gym.train import parallel
from streamdit_gym.world import World

RESUME_REMEDY = "make room, or choose another folder, and go on with --resume; what is done is kept"
MIN_FREE_BYTES = 2**16  # for the curves


@contextmanager
def saving(path: Path) -> Iterator[Path]:
    """Yield where to write a file of a run; at the end it replaces `path`.

    After an error nothing has changed.

    Raises:
        StorageError: if it cannot be written.
    """
    with writing_to(path, RESUME_REMEDY):
        try:
            with atomic_write(path) as part:
                yield part
        except (RuntimeError, SafetensorError) as error:
            # so torch and safetensors report a full disk
            raise OSError(f"{error}; is the disk full?") from error


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write the resolved settings beside the weights."""
    if parallel.rank():
        return
    with saving(folder / "config.json") as part:
        part.write_text(json.dumps(config, indent=1, default=str))


def save_world(world: World, folder: Path) -> None:
    """Write a run's bundle."""
    if parallel.rank():
        return
    with writing_to(folder, RESUME_REMEDY):
        try:
            world.save_pretrained(folder)
        except SafetensorError as error:  # so safetensors reports a full disk
            raise OSError(str(error)) from error


def require_room(folder: Path) -> None:
    """Raise OSError if a folder's disk is full.

    TensorBoard's thread would report it on its own, in a traceback.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
