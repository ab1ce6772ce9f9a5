"""A window on the screen, for ``render_mode="human"``.

Takes: frames.  Gives: nothing.  Knows nothing of: environments.
"""

from __future__ import annotations

import logging
import math
import os
import sys

import cv2
import numpy as np
from jaxtyping import UInt8

log = logging.getLogger("streamdit_gym")


def tile(frames: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Lay frames out in a near-square grid, black where there are none."""
    n, h, w, _ = frames.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    sheet = np.zeros((rows * columns, h, w, 3), dtype=np.uint8)
    sheet[:n] = frames
    return sheet.reshape(rows, columns, h, w, 3).swapaxes(1, 2).reshape(rows * h, columns * w, 3)


class Window:
    """An OpenCV window that enlarges small pictures; without a screen it says so once and shows
    nothing.

    Args:
        title: its title.
        side: least height in screen pixels.
    """

    def __init__(self, title: str, side: int = 512) -> None:
        self.title, self.side, self.shown = title, side, False
        # OpenCV ends the whole process when it finds no display, so look first
        self.screen = not sys.platform.startswith("linux") or any(
            os.environ.get(v) for v in ("DISPLAY", "WAYLAND_DISPLAY")
        )
        if not self.screen:
            log.warning(
                "no display: render_mode='human' shows nothing here; 'rgb_array' returns the frames"
            )

    def show(self, picture: UInt8[np.ndarray, "h w 3"], fps: float) -> None:
        """Show a picture for a frame's time."""
        if not self.screen:
            return
        times = max(1, self.side // picture.shape[0])
        cv2.imshow(self.title, picture.repeat(times, 0).repeat(times, 1)[..., ::-1])
        cv2.waitKey(max(1, int(1000 / fps)))
        self.shown = True

    def close(self) -> None:
        """Close the window."""
        if self.shown:
            cv2.destroyWindow(self.title)
            self.shown = False
