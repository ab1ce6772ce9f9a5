"""A recorded data set on disk: lossless video beside arrays.

Takes: a folder.  Gives: frames, prompts, actions, rewards, true states and scores, episode by
    episode.
Knows nothing of: simulators, models.

Layout: ``meta.json`` (world, phrases, names, shard plan), ``phrases.safetensors`` (the phrases'
    embeddings, once a training
has made them; carry it to machines without a prompt encoder), and per shard ``shard-00000.mkv``
(H.264 in RGB, lossless, every frame of every episode in order; where a world looks otherwise than
the one that it goes on from, ``plain/`` holds the same frames in that one's looks; generated data
sets may keep frames in another format, see `streamdit_gym.data.formats`) with ``shard-00000.npz``:

    actions   (episodes, steps)       int16   menu action taken after frame f
    prompts   (episodes, steps)       int32   index into meta["phrases"]: what was said with the
    action rewards   (episodes, steps, task) float32 one column per task, sorted by name
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

from streamdit_gym.data.formats import frame_format
from streamdit_gym.data.formats.mkv import Mkv
from streamdit_gym.errors import DatasetError
from streamdit_gym.files import atomic_write

FORMAT = 1
PLAIN = "plain"
ARRAYS = ("actions", "prompts", "rewards", "states", "scores")
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some whole episodes. Shapes: see the module's text; ``frames`` is (episodes, steps+1, h, w,
    3) uint8.

    ``plain``, only where it has just been recorded (`Dataset.plain` reads it), are the same frames
    in the looks of another world.
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
        Mkv().write(folder, index, self.frames, 10.0, [])
        if self.plain is not None:
            (folder / PLAIN).mkdir(exist_ok=True)
            Mkv().write(folder / PLAIN, index, self.plain, 10.0, [])
        with atomic_write(arrays_path(folder, index)) as part:
            np.savez_compressed(part, **{name: getattr(self, name) for name in ARRAYS})


def arrays_path(folder: Path, index: int) -> Path:
    """Return where a shard's arrays lie."""
    return folder / f"shard-{index:05d}.npz"


def read_meta(path: Path) -> dict[str, Any]:
    """Return what ``meta.json`` says.

    Raises:
        DatasetError: if it cannot be read.
    """
    try:
        meta = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            "meta.json cannot be read", given=path, remedy="delete it and record again"
        ) from error
    if not isinstance(meta, dict):
        raise DatasetError(
            "meta.json is of something else", given=path, remedy="delete it and record again"
        )
    return meta


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
            raise DatasetError(
                "no data set here", given=self.folder, remedy="make one: streamdit-gym record PushT"
            )
        self.meta = read_meta(meta)
        if self.meta.get("format") != FORMAT:
            raise DatasetError(
                "data set of another format",
                given=self.meta.get("format"),
                allowed=FORMAT,
                remedy="record it anew",
            )
        self.shards = sorted(int(p.stem.split("-")[1]) for p in self.folder.glob("shard-?????.npz"))
        if not self.shards:
            raise DatasetError(
                "data set without a whole shard",
                given=self.folder,
                remedy="run record again; it resumes",
            )

    @property
    def phrases(self) -> list[str]:
        """Every phrase that prompts may point to."""
        return list(self.meta["phrases"])

    def __len__(self) -> int:
        """Return the number of whole shards."""
        return len(self.shards)

    def episodes(self, position: int) -> int:
        """Return how many episodes a shard has, without reading its frames; positions as for
        `shard`.

        Raises:
            DatasetError: if the file is cut.
        """
        return len(self._arrays(position)["actions"])

    def _arrays(self, position: int) -> dict[str, np.ndarray]:
        path = arrays_path(self.folder, self.shards[position])
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                return {name: file[name] for name in ARRAYS}
        except UNREADABLE as error:
            raise DatasetError(
                "a shard cannot be read",
                given=f"{path}: {error}",
                remedy="delete it and record again",
            ) from error

    def shard(self, position: int) -> Shard:
        """Read one shard; positions count whole shards, 0 first.

        Raises:
            DatasetError: if a file is cut or the two files disagree.
        """
        stem, arrays = self.folder / f"shard-{self.shards[position]:05d}", self._arrays(position)
        try:
            frames = frame_format(self.meta.get("storage", "mkv")).read(
                self.folder, self.shards[position], len(arrays["states"])
            )
            if (
                frames.shape[1] == arrays["states"].shape[1] - 1
            ):  # a format without the last frame, which no action follows
                arrays = {name: array[:, :-1] for name, array in arrays.items()}
            if frames.shape[:2] != arrays["states"].shape[:2]:
                raise ValueError(f"{frames.shape[1]} frames for {arrays['states'].shape[1]} states")
        except UNREADABLE as error:
            raise DatasetError(
                "a shard cannot be read",
                given=f"{stem}.*: {error}",
                remedy="delete it and record again",
            ) from error
        return Shard(frames=frames, **arrays)

    def check_shard(self, position: int) -> None:
        """Read all files of a shard, and compare them with what the data set says of itself.

        Raises:
            DatasetError: if one is missing, cut or of another size.
        """
        shard = self.shard(position)
        episodes, steps, size = (self.meta[key] for key in ("episodes", "steps", "size"))
        expected = {
            "frames": (episodes, steps + 1, size, size, 3),
            "actions": (episodes, steps),
            "prompts": (episodes, steps),
            "rewards": (episodes, steps, len(self.meta["tasks"])),
            "states": (episodes, steps + 1, len(self.meta["state_names"])),
            "scores": (episodes, steps + 1, len(self.meta["score_names"])),
        }
        shapes = {name: getattr(shard, name).shape for name in expected}
        if self.painted:
            shapes["plain"], expected["plain"] = self.plain(position).shape, expected["frames"]
        for name, shape in shapes.items():
            if shape != expected[name]:
                raise DatasetError(
                    f"{name} of another shape",
                    given=f"{arrays_path(self.folder, self.shards[position])}: {shape}",
                    allowed=expected[name],
                    remedy="delete it and record again",
                )

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
        episodes = self.episodes(position)
        try:
            return Mkv().read(self.folder / PLAIN, index, episodes)
        except UNREADABLE as error:
            raise DatasetError(
                "the plain frames are not there, or cut",
                given=f"{self.folder / PLAIN}, shard {index}",
                allowed="a world that is painted",
                remedy="record it anew, or leave --looks and --adapt-codec out",
            ) from error
