"""What PushT's frames show: is there one whole pusher, one whole T?

Takes: frames.  Gives: whether each thing in them is whole.  Knows nothing of: the simulator.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

COLOURS = {
    "pusher": (65, 105, 225),
    "T": (119, 136, 153),
    "goal": (144, 238, 144),
    "table": (255, 255, 255),
}
# Measured on real frames: what a whole pusher and a whole T look like once every pixel has the name
# of its nearest colour.
PUSHER_AREA = (6, 16)
T_AREA, T_SPREAD, T_STRAY = (88, 132), ((9.5, 15.0), (16.0, 24.5)), 8


def objects(frames: UInt8[np.ndarray, "n h w 3"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Return whether each frame shows exactly one whole pusher and one whole T: 1 or 0.

    The walls keep a T in the picture, so one that the edge cuts off is not whole either. A T's area
    and the two spreads (variances along its main axes) stay the same wherever it lies and however
    it is turned.
    """
    palette = np.array(list(COLOURS.values()), dtype=np.float32)
    found = []
    for frame in frames:  # one by one: of a long stream the distances would not fit into memory
        names = ((frame[..., None, :].astype(np.float32) - palette) ** 2).sum(-1).argmin(-1)
        found.append((_one_pusher(names == 0), _one_t(names == 1)))
    return {
        "pusher": np.array([pair[0] for pair in found], float),
        "T": np.array([pair[1] for pair in found], float),
    }


def _parts(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the connected parts of a mask, numbered from 1, and their areas."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return parts, np.bincount(parts.ravel(), minlength=count)[1:]


def _one_pusher(mask: np.ndarray) -> float:
    areas = _parts(mask)[1]
    return float((areas > 3).sum() == 1 and PUSHER_AREA[0] <= areas.max() <= PUSHER_AREA[1])


def _one_t(mask: np.ndarray) -> float:
    parts, areas = _parts(mask)
    if (
        len(areas) == 0
        or not T_AREA[0] <= areas.max() <= T_AREA[1]
        or areas.sum() - areas.max() > T_STRAY
    ):
        return 0.0
    spreads = np.sort(np.linalg.eigvalsh(np.cov(np.argwhere(parts == 1 + areas.argmax()).T)))
    return float(
        all(low <= spread <= high for spread, (low, high) in zip(spreads, T_SPREAD, strict=True))
    )
