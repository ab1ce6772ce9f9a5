"""A shard: some whole episodes, as arrays beside lossless video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from streamdit_gym.data.formats.mkv import Mkv
from streamdit_gym.files import atomic_write

ARRAY_NAMES = ("actions", "prompts", "rewards", "states", "scores")
# arrays that data sets of earlier versions lack: their episodes are whole, and none has ended
LATER_ARRAY_NAMES = ("lengths", "terminated")
BASE_FOLDER = "plain"  # its name on disk
NOMINAL_FPS = 10.0  # of the video files; nothing reads it


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some whole episodes; shorter ones are padded with copies of their last frame.

    Attributes:
        frames: every frame, one more than there are actions.
        actions: action taken after each frame: numbers of a menu (e, s), int16, or values of a
            box (e, s, d), float32.
        prompts: index into the data set's phrases of the prompt that went with it, int32; -1 where
            actions are values of a box.
        rewards: one column per task, sorted by name.
        states: the simulator's true state at each frame.
        scores: the simulator's true task scores at each frame.
        lengths: steps of each episode, int32; what lies behind them is padding.
        terminated: whether an episode's last step ended it.
        base_frames: the same frames as the base world draws them, only where the shard has just
            been recorded; `Dataset.base_frames` reads them.
    """

    frames: UInt8[np.ndarray, "e g h w 3"]
    actions: Int[np.ndarray, "e s"] | Float[np.ndarray, "e s d"]
    prompts: Int[np.ndarray, "e s"]
    rewards: Float[np.ndarray, "e s k"]
    states: Float[np.ndarray, "e g n"]
    scores: Float[np.ndarray, "e g m"]
    lengths: Int[np.ndarray, " e"]
    terminated: Bool[np.ndarray, " e"]
    base_frames: UInt8[np.ndarray, "e g h w 3"] | None = None

    def save(self, folder: Path, index: int) -> None:
        """Write the shard; it counts as present only once all its files are whole."""
        Mkv().write(folder, index, self.frames, NOMINAL_FPS, [])
        if self.base_frames is not None:
            base_folder = folder / BASE_FOLDER
            base_folder.mkdir(exist_ok=True)
            Mkv().write(base_folder, index, self.base_frames, NOMINAL_FPS, [])
        names = (*ARRAY_NAMES, *LATER_ARRAY_NAMES)
        arrays = {name: getattr(self, name) for name in names}
        with atomic_write(arrays_path(folder, index)) as part:
            np.savez_compressed(part, **arrays)


def arrays_path(folder: Path, index: int) -> Path:
    """Return the file of a shard's arrays."""
    return folder / f"shard-{index:05d}.npz"
