"""A shard: some whole episodes, as arrays beside lossless video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from streamdit_gym.data.formats.mkv import Mkv
from streamdit_gym.files import atomic_write

ARRAY_NAMES = ("actions", "prompts", "rewards", "states", "scores")
BASE_FOLDER = "plain"  # its name on disk
NOMINAL_FPS = 10.0  # of the video files; nothing reads it


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some whole, equally long episodes.

    Attributes:
        frames: every frame, one more than there are actions.
        actions: menu action taken after each frame, int16.
        prompts: index into the data set's phrases of the prompt that went with it, int32.
        rewards: one column per task, sorted by name.
        states: the simulator's true state at each frame.
        scores: the simulator's true task scores at each frame.
        base_frames: the same frames as the base world draws them, only where the shard has just
            been recorded; `Dataset.base_frames` reads them.
    """

    frames: UInt8[np.ndarray, "e g h w 3"]
    actions: Int[np.ndarray, "e s"]
    prompts: Int[np.ndarray, "e s"]
    rewards: Float[np.ndarray, "e s k"]
    states: Float[np.ndarray, "e g n"]
    scores: Float[np.ndarray, "e g m"]
    base_frames: UInt8[np.ndarray, "e g h w 3"] | None = None

    def save(self, folder: Path, index: int) -> None:
        """Write the shard; it counts as present only once all its files are whole."""
        Mkv().write(folder, index, self.frames, NOMINAL_FPS, [])
        if self.base_frames is not None:
            base_folder = folder / BASE_FOLDER
            base_folder.mkdir(exist_ok=True)
            Mkv().write(base_folder, index, self.base_frames, NOMINAL_FPS, [])
        arrays = {name: getattr(self, name) for name in ARRAY_NAMES}
        with atomic_write(arrays_path(folder, index)) as part:
            np.savez_compressed(part, **arrays)


def arrays_path(folder: Path, index: int) -> Path:
    """Return the file of a shard's arrays."""
    return folder / f"shard-{index:05d}.npz"
