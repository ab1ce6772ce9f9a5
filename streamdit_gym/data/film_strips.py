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
        strips = [np.concatenate(list(frames), 1) for frames in (real_episode, generated_episode)]
        if rows:
            rows.append(np.full((GAP_PIXELS, strips[0].shape[1], 3), GREY, np.uint8))
        rows += strips
    return np.concatenate(rows).repeat(ENLARGEMENT, 0).repeat(ENLARGEMENT, 1)
