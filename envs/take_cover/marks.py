"""What frames of Take Cover show: fireballs, real or generated."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

MIN_RED, MIN_GREEN = 200, 150  # of 255; nothing else in the room is as bright
MIN_PIXELS = 3  # of a fireball
NO_FIREBALL = "none"
THIRDS = ("left", "middle", "right")


class Fireball(NamedTuple):
    """A fireball of one frame: its middle across the picture, px, and its size, pixels."""

    x: float
    size: int


def fireballs(frame: UInt8[np.ndarray, "32 128 3"]) -> list[Fireball]:
    """Return the fireballs of a frame, the largest one first."""
    bright = (frame[..., 0] > MIN_RED) & (frame[..., 1] > MIN_GREEN)
    _, _, stats, middles = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    sizes = stats[:, cv2.CC_STAT_AREA]
    unsorted = [
        Fireball(x=float(middle[0]) + 0.5, size=int(size))
        for middle, size in zip(middles[1:], sizes[1:], strict=True)  # the first is the ground
        if size >= MIN_PIXELS
    ]
    return sorted(unsorted, key=lambda fireball: -fireball.size)


def fireball_outcome(frames: UInt8[np.ndarray, "f 32 128 3"]) -> str:
    """Return in which third of the last frame its largest fireball is, or that there is none."""
    shown = fireballs(frames[-1])
    if not shown:
        return NO_FIREBALL
    third = int(len(THIRDS) * shown[0].x / frames.shape[2])
    return THIRDS[third]
