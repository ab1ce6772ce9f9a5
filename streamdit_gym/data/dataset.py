"""A recorded data set on disk: lossless video beside arrays.

Takes: a folder.  Gives: frames, prompts, actions, rewards, true states and scores, episode by episode.
Knows nothing of: simulators, models.

Layout: ``meta.json`` (world, phrases, names, shard plan), ``phrases.safetensors`` (the phrases' embeddings, once a training
has made them; carry it to machines without a prompt encoder), and per shard ``shard-00000.mkv`` (H.264 in RGB, lossless,
every frame of every episode in order; where a world looks otherwise than the one that it goes on from, ``plain/`` holds the same frames
in that one's looks; generated data sets may keep frames in another format, see `streamdit_gym.data.storage`)
with ``shard-00000.npz``:

    actions   (episodes, steps)       int16   menu action taken after frame f
    prompts   (episodes, steps)       int32   index into meta["phrases"]: what was said with the action
    rewards   (episodes, steps, task) float32 one column per task, sorted by name
    states    (episodes, steps+1, n)  float32
    scores    (episodes, steps+1, m)  float32
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from streamdit_gym.data.storage import storage
from streamdit_gym.data.storage.storage import Mkv
from streamdit_gym.errors import DatasetError

FORMAT = 1
PLAIN = "plain"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some whole episodes. Shapes: see the module's text; ``frames`` is (episodes, steps+1, h, w, 3) uint8.

    ``plain``, only where it has just been recorded (`Dataset.plain` reads it), are the same frames in the looks of another world.
    """

    frames: UInt8[np.ndarray, "e g h w 3"]
    actions: Int[np.ndarray, "e s"]
    prompts: Int[np.ndarray, "e s"]
    rewards: Float[np.ndarray, "e s k"]
    states: Float[np.ndarray, "e g n"]
    scores: Float[np.ndarray, "e g m"]
    plain: UInt8[np.ndarray, "e g h w 3"] | None = None

    def save(self, folder: Path, index: int) -> None:
        """Write the shard; it counts as present only once all files are whole."""
        stem = folder / f"shard-{index:05d}"
        Mkv().write(folder, index, self.frames, 10.0, [])
        if self.plain is not None:
            (folder / PLAIN).mkdir(exist_ok=True)
            Mkv().write(folder / PLAIN, index, self.plain, 10.0, [])
        arrays = stem.with_suffix(".part.npz")
        names = ("actions", "prompts", "rewards", "states", "scores")
        np.savez_compressed(arrays, **{name: getattr(self, name) for name in names})
        arrays.replace(stem.with_suffix(".npz"))


class Dataset:
    """A recorded data set, read shard by shard.

    Args:
        folder: where `record` wrote it.

    Raises:
        DatasetError: if the folder is no data set, is of another format, or has no whole shard.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        meta = self.folder / "meta.json"
        if not meta.is_file():
            raise DatasetError("no data set here", given=self.folder, remedy="make one: streamdit-gym record PushT")
        try:
            self.meta: dict[str, Any] = json.loads(meta.read_text())
        except ValueError as error:
            raise DatasetError("meta.json cannot be read", given=meta, remedy="delete it and record again") from error
        if self.meta.get("format") != FORMAT:
            raise DatasetError("data set of another format", given=self.meta.get("format"), allowed=FORMAT, remedy="record it anew")
        self.shards = sorted(int(p.stem.split("-")[1]) for p in self.folder.glob("shard-?????.npz"))
        if not self.shards:
            raise DatasetError("data set without a whole shard", given=self.folder, remedy="run record again; it resumes")

    @property
    def phrases(self) -> list[str]:
        """Every phrase that prompts may point to."""
        return list(self.meta["phrases"])

    def __len__(self) -> int:
        """Return the number of whole shards."""
        return len(self.shards)

    def episodes(self, position: int) -> int:
        """Return how many episodes a shard has, without reading its frames; positions as for `shard`.

        Raises:
            DatasetError: if the file is cut.
        """
        return len(self._arrays(position)["actions"])

    def _arrays(self, position: int) -> dict[str, np.ndarray]:
        path = self.folder / f"shard-{self.shards[position]:05d}.npz"
        try:
            with np.load(path) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DatasetError("a shard cannot be read", given=f"{path}: {error}", remedy="delete it and record again") from error

    def shard(self, position: int) -> Shard:
        """Read one shard; positions count whole shards, 0 first.

        Raises:
            DatasetError: if a file is cut or the two files disagree.
        """
        stem, arrays = self.folder / f"shard-{self.shards[position]:05d}", self._arrays(position)
        try:
            frames = storage(self.meta.get("storage", "mkv")).read(self.folder, self.shards[position], len(arrays["states"]))
            if frames.shape[1] == arrays["states"].shape[1] - 1:  # a format without the last frame, which no action follows
                arrays = {name: array[:, :-1] for name, array in arrays.items()}
            if frames.shape[:2] != arrays["states"].shape[:2]:
                raise ValueError(f"{frames.shape[1]} frames for {arrays['states'].shape[1]} states")
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError("a shard cannot be read", given=f"{stem}.*: {error}", remedy="delete it and record again") from error
        return Shard(frames=frames, **arrays)

    @property
    def painted(self) -> bool:
        """Whether its frames are there in the looks of another world as well, see `plain`."""
        return (self.folder / PLAIN).is_dir()

    def plain(self, position: int) -> UInt8[np.ndarray, "e g h w 3"]:
        """Read the frames of one shard in the looks of the world that this one goes on from.

        Raises:
            DatasetError: if there are none, or the file is cut.
        """
        index = self.shards[position]
        try:
            return Mkv().read(self.folder / PLAIN, index, self.episodes(position))
        except (OSError, ValueError) as error:
            raise DatasetError(
                "the plain frames are not there, or cut", given=f"{self.folder / PLAIN}, shard {index}", allowed="a world that is painted",
                remedy="record it anew, or leave --looks and --adapt-codec out",
            ) from error  # fmt: skip
