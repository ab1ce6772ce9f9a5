"""A data set on disk: lossless video beside arrays, shard by shard.

``meta.json`` holds the world, its phrases and names, and the recording's settings.
``phrases.safetensors`` holds the phrases' embeddings, once a training has made them; carry it to
machines without a prompt encoder. ``shard-00000.npz`` holds a shard's arrays:

    actions   (episodes, steps)         int16    menu action taken after frame f, or
              (episodes, steps, d)      float32  values of a box
    prompts   (episodes, steps)         int32    index into meta["phrases"]; -1 for a box
    rewards   (episodes, steps, tasks)  float32  one column per task, sorted by name
    states    (episodes, steps+1, n)    float32
    scores    (episodes, steps+1, m)    float32
    lengths   (episodes,)               int32    steps; what lies behind them is padding
    terminated (episodes,)              bool     whether the last step ended the episode

``shard-00000.mkv`` holds its frames (H.264 in RGB, lossless, every frame of every episode in
order); generated data sets may keep them in another format, see `streamdit_gym.data.formats`.
Where a world continues a base world that draws differently, ``plain/`` holds the same frames as
the base world draws them.
"""

from __future__ import annotations

import json
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.actions import ActionLanguage, loaded_actions
from streamdit_gym.data.formats import frame_format
from streamdit_gym.data.formats.mkv import Mkv
from streamdit_gym.data.shard import (
    ARRAY_NAMES,
    BASE_FOLDER,
    LATER_ARRAY_NAMES,
    Shard,
    arrays_path,
)
from streamdit_gym.definition import loaded_size
from streamdit_gym.errors import DatasetError

FORMAT = 1
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
RECORD_AGAIN = "delete it and record again"
MAX_HELD_OUT_SHARDS = 4


def read_meta(path: Path) -> dict[str, Any]:
    """Return the content of ``meta.json``.

    Raises:
        DatasetError: if it cannot be read.
    """
    try:
        meta = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise DatasetError("meta.json cannot be read", given=path, remedy=RECORD_AGAIN) from error
    if not isinstance(meta, dict):
        raise DatasetError("meta.json is of something else", given=path, remedy=RECORD_AGAIN)
    return meta


class Dataset:
    """A recorded or generated data set, read shard by shard.

    Args:
        folder: where `record` or `generate` wrote it.

    Raises:
        DatasetError: if the folder is no data set, is of another format, or has no whole shard.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / "meta.json"
        if not path.is_file():
            raise DatasetError(
                "no data set here", given=self.folder, remedy="make one: streamdit-gym record PushT"
            )
        self.meta = read_meta(path)
        if self.meta.get("format") != FORMAT:
            raise DatasetError(
                "data set of another format",
                given=self.meta.get("format"),
                allowed=FORMAT,
                remedy="record it anew",
            )
        arrays_files = self.folder.glob("shard-?????.npz")
        self.shards = sorted(int(path.stem.split("-")[1]) for path in arrays_files)
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

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of a frame."""
        return loaded_size(self.meta["size"])

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return self.actions.shape

    @property
    def actions(self) -> ActionLanguage:
        """Which actions there are, and how prompts name them."""
        return loaded_actions(self.meta)

    @property
    def num_generated_frames(self) -> int:
        """How many leading frames of every episode a world generated; 0 in a recording."""
        return self.meta.get("astray", 0)

    @property
    def has_base_frames(self) -> bool:
        """Whether the frames exist as the base world draws them, too."""
        return (self.folder / BASE_FOLDER).is_dir()

    @property
    def num_held_out_shards(self) -> int:
        """How many of the last shards no world is trained on."""
        return min(MAX_HELD_OUT_SHARDS, max(1, len(self) // 10))

    def __len__(self) -> int:
        """Return the number of whole shards."""
        return len(self.shards)

    def shard_name(self, position: int) -> str:
        """Return the name of a shard's file of arrays, for messages."""
        return arrays_path(self.folder, self.shards[position]).name

    def episodes(self, position: int) -> int:
        """Return how many episodes a shard has, without reading its frames.

        Args:
            position: as for `shard`.

        Raises:
            DatasetError: if the file is cut.
        """
        return len(self.arrays(position)["actions"])

    def shard(self, position: int) -> Shard:
        """Read one shard.

        Args:
            position: counts whole shards, the first is 0.

        Raises:
            DatasetError: if a file is cut, or frames and arrays disagree.
        """
        index = self.shards[position]
        arrays = self.arrays(position)
        try:
            frames = self._frames(index, len(arrays["states"]))
            num_frames = frames.shape[1]
            num_states = arrays["states"].shape[1]
            if num_frames == num_states - 1:
                # a format without the last frame, which no action follows
                for name in ARRAY_NAMES:
                    arrays[name] = arrays[name][:, :-1]
                arrays["lengths"] = arrays["lengths"].clip(max=num_frames - 1)
            if frames.shape[:2] != arrays["states"].shape[:2]:
                num_states = arrays["states"].shape[1]
                raise ValueError(f"{num_frames} frames for {num_states} states")
        except UNREADABLE as error:
            stem = self.folder / f"shard-{index:05d}"
            raise DatasetError(
                "a shard cannot be read", given=f"{stem}.*: {error}", remedy=RECORD_AGAIN
            ) from error
        return Shard(frames=frames, **arrays)

    def arrays(self, position: int) -> dict[str, np.ndarray]:
        """Read all of one shard but its frames.

        Args:
            position: as for `shard`.

        Raises:
            DatasetError: if the file is cut.
        """
        path = arrays_path(self.folder, self.shards[position])
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                arrays = {name: file[name] for name in ARRAY_NAMES}
                later = {name: file[name] for name in LATER_ARRAY_NAMES if name in file}
        except UNREADABLE as error:
            raise DatasetError(
                "a shard cannot be read", given=f"{path}: {error}", remedy=RECORD_AGAIN
            ) from error
        num_episodes, steps = arrays["actions"].shape[:2]
        whole = {
            "lengths": np.full(num_episodes, steps, dtype=np.int32),
            "terminated": np.zeros(num_episodes, dtype=bool),
        }
        return arrays | whole | later

    def base_frames(self, position: int) -> UInt8[np.ndarray, "e g h w 3"]:
        """Read the frames of one shard as the base world draws them.

        Args:
            position: as for `shard`.

        Raises:
            DatasetError: if there are none, or the file is cut.
        """
        index = self.shards[position]
        folder = self.folder / BASE_FOLDER
        num_episodes = self.episodes(position)
        try:
            return Mkv().read(folder, index, num_episodes)
        except UNREADABLE as error:
            raise DatasetError(
                "the frames of the base world are not there, or cut",
                given=f"{folder}, shard {index}",
                allowed="a world that continues one that draws differently",
                remedy="record it anew, or train without adapt_autoencoder",
            ) from error

    def check_shard(self, position: int) -> None:
        """Read all files of a shard, and compare their shapes with ``meta.json``.

        Args:
            position: as for `shard`.

        Raises:
            DatasetError: if a file is missing, cut or of another size.
        """
        shard = self.shard(position)
        expected = self._expected_shapes()
        shapes = {name: getattr(shard, name).shape for name in expected}
        if self.has_base_frames:
            expected["base_frames"] = expected["frames"]
            shapes["base_frames"] = self.base_frames(position).shape
        for name, shape in shapes.items():
            if shape != expected[name]:
                path = arrays_path(self.folder, self.shards[position])
                raise DatasetError(
                    f"{name} of another shape",
                    given=f"{path}: {shape}",
                    allowed=expected[name],
                    remedy=RECORD_AGAIN,
                )

    def plain(self, position: int) -> UInt8[np.ndarray, "e g h w 3"]:
        """Deprecated name of `base_frames`."""
        _warn_renamed("Dataset.plain", "Dataset.base_frames")
        return self.base_frames(position)

    @property
    def painted(self) -> bool:
        """Deprecated name of `has_base_frames`."""
        _warn_renamed("Dataset.painted", "Dataset.has_base_frames")
        return self.has_base_frames

    def _frames(self, index: int, num_episodes: int) -> UInt8[np.ndarray, "e g h w 3"]:
        name = self.meta.get("storage", "mkv")
        return frame_format(name).read(self.folder, index, num_episodes)

    def _expected_shapes(self) -> dict[str, tuple[int, ...]]:
        meta = self.meta
        episodes = meta["episodes"]
        steps = meta["steps"]
        height, width = self.frame_size
        return {
            "frames": (episodes, steps + 1, height, width, 3),
            "actions": (episodes, steps, *self.action_shape),
            "prompts": (episodes, steps),
            "rewards": (episodes, steps, len(meta["tasks"])),
            "states": (episodes, steps + 1, len(meta["state_names"])),
            "scores": (episodes, steps + 1, len(meta["score_names"])),
        }


def _warn_renamed(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=3)
