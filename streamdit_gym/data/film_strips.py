"""Pictures of episodes, frame beside frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

GAP_PIXELS = 4
GREY = 128
ENLARGEMENT = 2


def pairs_of_rows(
    real: UInt8[np.ndarray, "e f h w 3"], generated: UInt8[np.ndarray, "e f h w 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Lay episodes out as film strips, twice enlarged: real above generated, gaps between."""
    rows: list[np.ndarray] = []
    for real_episode, generated_episode in zip(real, generated, strict=True):
        strips = [_side_by_side(real_episode), _side_by_side(generated_episode)]
        if rows:
            rows.append(np.full((GAP_PIXELS, strips[0].shape[1], 3), GREY, np.uint8))
        rows += strips
    return _enlarged(np.concatenate(rows))


def rows_of_frames(episodes: UInt8[np.ndarray, "e f h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Lay episodes out as film strips, twice enlarged, one below the other."""
    return _enlarged(np.concatenate([_side_by_side(episode) for episode in episodes]))


def _side_by_side(frames: UInt8[np.ndarray, "f h w 3"]) -> UInt8[np.ndarray, "h W 3"]:
    return np.concatenate(list(frames), axis=1)


def _enlarged(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    return pixels.repeat(ENLARGEMENT, 0).repeat(ENLARGEMENT, 1)
