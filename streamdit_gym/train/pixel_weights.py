"""Which pixels weigh more while the autoencoder learns: those that move, in any scene.

A pixel moves where it differs from the recordings' typical picture or from the neighbouring frame.
Nothing here knows what a scene shows: a floor with a pattern does not move, a thin arm does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from streamdit_gym.train.losses import FOREGROUND_DIFFERENCE

MAX_TYPICAL_FRAMES = 128  # of which the typical picture is the median
MAX_MEASURED_EPISODES = 64
MIN_SHARE = 1e-3  # of the pixels, below which a few do not weigh more still
MARGIN = 3  # pixels across the neighbourhood that moves with a pixel


@dataclass(frozen=True, kw_only=True)
class MotionWeight:
    """Weights of pixels: 1, and more where they move.

    Attributes:
        typical: the recordings' typical picture, in [-1, 1].
        extra: weight of pixels that move, beside 1 for all.
    """

    typical: Float[Tensor, "3 h w"]
    extra: float

    @classmethod
    def measured(
        cls, episodes: UInt8[np.ndarray, "e f h w 3"], max_extra: float, device: str
    ) -> MotionWeight:
        """Return the weight with which all that moves weighs as much as all that does not.

        Args:
            episodes: the recordings.
            max_extra: largest extra weight.
            device: where pixels will be.
        """
        typical = typical_picture(episodes)
        stride = max(1, len(episodes) // MAX_MEASURED_EPISODES)
        middle = max(0, episodes.shape[1] // 2 - 1)
        triplets = _as_pixels(episodes[::stride, middle : middle + 3])
        moving = moving_pixels(triplets, typical)
        share = moving.float().mean().clamp_min(MIN_SHARE).item()
        balanced = (1 - share) / share
        return cls(typical=typical.to(device), extra=min(max_extra, balanced))

    def __call__(self, triplets: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
        """Return the weights of triplets of neighbouring frames, one triplet after another."""
        clips = rearrange(triplets, "(n three) c h w -> n three c h w", three=3)
        moving = moving_pixels(clips, self.typical)
        return 1 + self.extra * rearrange(moving, "n three c h w -> (n three) c h w")


def typical_picture(episodes: UInt8[np.ndarray, "e f h w 3"]) -> Float[Tensor, "3 h w"]:
    """Return the median of frames from all over the recordings."""
    count, length = episodes.shape[:2]
    frames = np.linspace(0, count * length - 1, min(MAX_TYPICAL_FRAMES, count * length))
    episode, place = np.divmod(frames.astype(np.int64), length)
    pixels = _as_pixels(episodes[episode, place])
    return pixels.median(0).values


def moving_pixels(
    clips: Float[Tensor, "n f 3 h w"], typical: Float[Tensor, "3 h w"]
) -> Bool[Tensor, "n f 1 h w"]:
    """Return which pixels of clips move, and their neighbours."""
    differs = _differ(clips, typical)
    changes = _differ(clips[:, 1:], clips[:, :-1])
    changes_before = functional.pad(changes, (0, 0, 0, 0, 0, 0, 1, 0))
    changes_after = functional.pad(changes, (0, 0, 0, 0, 0, 0, 0, 1))
    moving = differs | changes_before | changes_after
    frames = rearrange(moving, "n f c h w -> (n f) c h w").float()
    widened = functional.max_pool2d(frames, MARGIN, stride=1, padding=MARGIN // 2)
    return rearrange(widened > 0, "(n f) c h w -> n f c h w", n=len(clips))


def _differ(
    clips: Float[Tensor, "n f 3 h w"], others: Float[Tensor, "*n 3 h w"]
) -> Bool[Tensor, "n f 1 h w"]:
    difference = (clips - others).abs()
    return difference.amax(2, keepdim=True) > FOREGROUND_DIFFERENCE


def _as_pixels(frames: UInt8[np.ndarray, "*n h w 3"]) -> Float[Tensor, "*n 3 h w"]:
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).float() / 127.5 - 1
    return pixels.movedim(-1, -3)
