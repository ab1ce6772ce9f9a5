"""Whether PushT's frames show exactly one intact pusher and one intact T."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

COLOURS = {
    "pusher": (65, 105, 225),
    "T": (119, 136, 153),
    "goal": (144, 238, 144),
    "table": (255, 255, 255),
}
# Measured on real frames in which every pixel has the name of its nearest colour.
PUSHER_AREA = (6, 16)
MAX_PUSHER_SPECK = 3  # pixels of a part that is too small to be a second pusher
T_AREA = (88, 132)
T_SPREADS = ((9.5, 15.0), (16.0, 24.5))  # variances along the T's main axes
MAX_T_SPECKS = 8  # pixels outside the largest part

Mask = Bool[np.ndarray, "h w"]


def object_integrity(frames: UInt8[np.ndarray, "n h w 3"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Return for each thing whether each frame shows exactly one, intact: 1 or 0.

    The walls keep a T in the picture, so one that the edge cuts off is not intact either. A T's
    area and the two variances along its main axes stay the same wherever and however it lies.
    """
    palette = np.array(list(COLOURS.values()), dtype=np.float32)
    pushers = []
    blocks = []
    for frame in frames:  # one by one: of a long stream the distances would not fit into memory
        pixels = frame[..., None, :].astype(np.float32)
        offsets = pixels - palette
        distances = (offsets**2).sum(-1)
        nearest_colour = distances.argmin(-1)
        pushers.append(_is_one_pusher(nearest_colour == 0))
        blocks.append(_is_one_t(nearest_colour == 1))
    return {
        "pusher": np.array(pushers, float),
        "T": np.array(blocks, float),
    }


def _connected_parts(mask: Mask) -> tuple[Int[np.ndarray, "h w"], Int[np.ndarray, " p"]]:
    """Return the connected parts of a mask, numbered from 1, and their areas."""
    as_bytes = mask.astype(np.uint8)
    count, parts = cv2.connectedComponents(as_bytes, connectivity=8)
    areas = np.bincount(parts.ravel(), minlength=count)
    return parts, areas[1:]


def _is_one_pusher(mask: Mask) -> bool:
    _, areas = _connected_parts(mask)
    num_pushers = (areas > MAX_PUSHER_SPECK).sum()
    if num_pushers != 1:
        return False
    least, most = PUSHER_AREA
    return bool(least <= areas.max() <= most)


def _is_one_t(mask: Mask) -> bool:
    parts, areas = _connected_parts(mask)
    if len(areas) == 0:
        return False
    largest = areas.max()
    least, most = T_AREA
    if not least <= largest <= most or areas.sum() - largest > MAX_T_SPECKS:
        return False
    pixels = np.argwhere(parts == 1 + areas.argmax())
    variances = np.sort(np.linalg.eigvalsh(np.cov(pixels.T)))
    for variance, (low, high) in zip(variances, T_SPREADS, strict=True):
        if not low <= variance <= high:
            return False
    return True
