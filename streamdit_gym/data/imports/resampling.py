"""Another frame rate: which frames stay, and what becomes of the steps between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

TARGET_FPS = 10.0
ROUNDING = 1e-6


def default_fps(source_fps: float) -> float:
    """Return the smallest rate from ten frames a second on that divides the recordings' rate."""
    every = max(1, int(source_fps / TARGET_FPS + ROUNDING))
    return source_fps / every


@dataclass(frozen=True)
class Resampling:
    """From one frame rate to another.

    Attributes:
        source_fps: frames a second of the recordings.
        fps: frames a second of the data set.
    """

    source_fps: float
    fps: float

    def source_frame(self, number: int) -> int:
        """Return the recorded frame that is nearest in time to a frame of the data set."""
        return int(number * self.source_fps / self.fps + 0.5 + ROUNDING)

    def source_frames(self, count: int) -> Int[np.ndarray, " g"]:
        """Return which of so many recorded frames stay; one may stay twice."""
        chosen: list[int] = []
        while (frame := self.source_frame(len(chosen))) < count:
            chosen.append(frame)
        return np.array(chosen, dtype=np.int64)


def mean_actions(
    actions: Float[np.ndarray, "r d"], frames: Int[np.ndarray, " g"]
) -> Float[np.ndarray, "s d"]:
    """Return the mean action between every two frames that stay.

    Args:
        actions: the action after every recorded frame.
        frames: which frames stay.
    """
    means = []
    for begin, end in pairwise(frames.tolist()):
        # the same frame twice: its action goes on
        means.append(actions[begin : max(end, begin + 1)].mean(axis=0))
    return np.array(means).reshape(len(means), actions.shape[1])


def summed_rewards(
    rewards: Float[np.ndarray, " r"], frames: Int[np.ndarray, " g"], ends: bool
) -> Float[np.ndarray, " s"]:
    """Return the sum of rewards between every two frames that stay.

    Args:
        rewards: of the step after every recorded frame.
        frames: which frames stay.
        ends: whether the last recorded step ended the episode; the rewards behind the last frame
            then count for the last step, as the end would be lost without them.
    """
    sums = np.add.reduceat(np.append(rewards, 0.0), frames)[:-1] if len(frames) > 1 else np.zeros(0)
    # reduceat gives an element, not an empty sum, where a frame stays twice
    sums = np.where(np.diff(frames) > 0, sums, 0.0)
    if ends and len(sums):
        sums[-1] += rewards[frames[-1] :].sum()
    return sums


def success_at_frames(
    success: Float[np.ndarray, " r"], frames: Int[np.ndarray, " g"], ends: bool
) -> Float[np.ndarray, " g"]:
    """Return at which frames that stay the task was done.

    Args:
        success: of the step after every recorded frame.
        frames: which frames stay.
        ends: whether the last recorded step ended the episode; its success then counts for the last
            frame.
    """
    at_frames = np.append(0.0, success)[frames]
    if ends:
        at_frames[-1] = success[-1]
    return at_frames
