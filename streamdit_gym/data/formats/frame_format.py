"""What every format of frames on disk can do."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.files import replace_folder

Frames = UInt8[np.ndarray, "e g h w 3"]
EpisodeRecord = dict[str, Any]  # what the manifest says about an episode, and its arrays, as JSON


class FrameFormat(ABC):
    """Writes and reads the frames of shards, and exports all shards for other programs.

    A shard has its number in its files' names. Its arrays lie beside them in ``shard-00000.npz``,
    whatever the format, so that every format can be trained on. The export is numbered without
    holes and lies alone in a folder, so that nothing else goes where that folder goes.
    """

    required_modules: tuple[str, ...] = ()  # optional packages, which only this format needs
    export_folder: str = ""  # for other programs; empty: they read the shards themselves
    shard_folders: tuple[str, ...] = ("",)  # where shards are written, inside the data set

    @abstractmethod
    def write(
        self, folder: Path, shard: int, frames: Frames, fps: float, records: list[EpisodeRecord]
    ) -> None:
        """Write a shard's frames.

        Args:
            folder: the data set.
            shard: the shard's number.
            frames: its episodes.
            fps: frames per second.
            records: one per episode.
        """

    @abstractmethod
    def read(self, folder: Path, shard: int, num_episodes: int) -> Frames:
        """Return a shard's frames.

        Raises:
            OSError: if a file is missing or cut.
        """

    @abstractmethod
    def files(self, folder: Path, shard: int) -> list[Path]:
        """Return the existing files of a shard, as `write` names them."""

    def finish(self, folder: Path, meta: dict[str, Any], records: list[EpisodeRecord]) -> None:
        """Export once every shard is written; calling it again gives the same files.

        Args:
            folder: the data set.
            meta: content of ``meta.json``.
            records: one per kept episode, in order. ``record["shard"]`` and ``record["row"]`` say
                where the episode lies.
        """
        if self.export_folder:
            with replace_folder(folder / self.export_folder) as target:
                self.export(folder, target, meta, records)

    def export(
        self, folder: Path, target: Path, meta: dict[str, Any], records: list[EpisodeRecord]
    ) -> None:
        """Fill the empty folder `target`; the other arguments are those of `finish`."""
        raise NotImplementedError(f"{type(self).__name__} exports nothing")

    def export_path(self, folder: Path, records: list[EpisodeRecord]) -> str:
        """Return what other programs open: a path, or a pattern of paths."""
        return str(folder / self.export_folder)


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file in a second place: as a hard link, or as a copy where there are no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
