"""A window on the screen, for ``render_mode="human"``."""

from __future__ import annotations

import logging
import math
import os
import sys

import cv2
import numpy as np
from jaxtyping import UInt8

log = logging.getLogger("streamdit_gym")

MIN_HEIGHT = 512


def tile(frames: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Lay frames out in a near-square grid, black where there are none."""
    n, h, w, _ = frames.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    sheet = np.zeros((rows * columns, h, w, 3), dtype=np.uint8)
    sheet[:n] = frames
    grid = sheet.reshape(rows, columns, h, w, 3).swapaxes(1, 2)
    return grid.reshape(rows * h, columns * w, 3)


class Window:
    """An OpenCV window that enlarges small pictures.

    Without a screen it says so once in the log and shows nothing.

    Args:
        title: its title.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.shown = False
        self.screen = _has_screen()
        if not self.screen:
            log.warning(
                "no display: render_mode='human' shows nothing here; 'rgb_array' returns the frames"
            )

    def show(self, picture: UInt8[np.ndarray, "h w 3"], fps: float) -> None:
        """Show a picture for a frame's time."""
        if not self.screen:
            return
        times = max(1, MIN_HEIGHT // picture.shape[0])
        enlarged = picture.repeat(times, 0).repeat(times, 1)
        cv2.imshow(self.title, enlarged[..., ::-1])
        cv2.waitKey(max(1, int(1000 / fps)))
        self.shown = True

    def close(self) -> None:
        """Close the window."""
        if self.shown:
            cv2.destroyWindow(self.title)
            self.shown = False


def _has_screen() -> bool:
    """Return whether there is a display; OpenCV ends the whole process when it finds none."""
    if not sys.platform.startswith("linux"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
