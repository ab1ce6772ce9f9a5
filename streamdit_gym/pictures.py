"""Small pictures for reports: film strips of frames side by side."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

GAP_PX = 4
GAP_LEVEL = 128
ENLARGEMENT = 2


def paired_film_strips(
    real: UInt8[np.ndarray, "e f h w 3"], generated: UInt8[np.ndarray, "e f h w 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Lay episodes out as film strips, real above generated, with a gap between episodes."""
    rows: list[np.ndarray] = []
    for real_frames, generated_frames in zip(real, generated, strict=True):
        real_strip = side_by_side(real_frames)
        if rows:
            rows.append(np.full((GAP_PX, real_strip.shape[1], 3), GAP_LEVEL, np.uint8))
        rows += [real_strip, side_by_side(generated_frames)]
    return enlarged(np.concatenate(rows))


def film_strips(episodes: UInt8[np.ndarray, "e f h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Lay episodes out as film strips, one below the other."""
    return enlarged(np.concatenate([side_by_side(frames) for frames in episodes]))


def side_by_side(frames: UInt8[np.ndarray, "f h w 3"]) -> UInt8[np.ndarray, "h W 3"]:
    """Join frames from left to right."""
    return np.concatenate(list(frames), axis=1)


def enlarged(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture at twice its size, pixel by pixel."""
    return pixels.repeat(ENLARGEMENT, 0).repeat(ENLARGEMENT, 1)
