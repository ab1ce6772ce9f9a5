"""Films and curves for people.

Takes: frames with captions, returns of episodes.  Gives: an MP4, a PNG.  Knows nothing of: agents,
    worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from streamdit_gym.data.video import PLAYABLE, write_video
from streamdit_gym.errors import require
from streamdit_gym.files import atomic_write

SIDE = 320
BAR = 56


def panel(
    frame: UInt8[np.ndarray, "h w 3"], title: str, caption: str
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a frame enlarged, with a title above and a caption below."""
    large = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    sheet = np.full((SIDE + 2 * BAR, SIDE, 3), 28, dtype=np.uint8)
    sheet[BAR : BAR + SIDE] = large
    for text, y, scale in ((title, 36, 0.7), (caption, SIDE + BAR + 36, 0.6)):
        cv2.putText(
            sheet, text, (12, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (240, 240, 240), 1, cv2.LINE_AA
        )
    return sheet


def side_by_side(
    panels: Sequence[UInt8[np.ndarray, "h w 3"]], gap: int = 8
) -> UInt8[np.ndarray, "H W 3"]:
    """Join panels with a gap."""
    spacer = np.full((panels[0].shape[0], gap, 3), 28, dtype=np.uint8)
    parts = [part for picture in panels for part in (picture, spacer)]
    return np.concatenate(parts[:-1], axis=1)


def write_mp4(path: Path, frames: Sequence[UInt8[np.ndarray, "h w 3"]], fps: int) -> None:
    """Write an H.264 film that browsers play, whole or not at all; odd edges are cut by a pixel."""
    height, width = (size - size % 2 for size in frames[0].shape[:2])
    with atomic_write(path) as part:
        write_video(part, np.stack([frame[:height, :width] for frame in frames]), fps, PLAYABLE)


def plot_curve(
    path: Path, points: Sequence[tuple[int, float]], floor: float, title: str, ylabel: str
) -> None:
    """Draw a learning curve: every episode as a dot, their running mean,
    and the random player's mean as a line.
    """
    require("matplotlib", "demo", "a plot").use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    if points:
        steps, returns = np.array(points).T
        axes.scatter(steps, returns, s=5, alpha=0.25, color="tab:blue", label="episode")
        width = max(1, len(returns) // 20)
        mean = np.convolve(returns, np.ones(width) / width, mode="valid")
        axes.plot(steps[width - 1 :], mean, color="tab:blue", label=f"mean of {width} episodes")
    axes.axhline(floor, color="tab:gray", linestyle="--", label="random player")
    axes.set(xlabel="environment steps in the generated world", ylabel=ylabel, title=title)
    axes.legend()
    with atomic_write(path) as part:
        figure.savefig(part, dpi=120)
    pyplot.close(figure)
