"""Films of frames with captions, and pictures of learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from streamdit_gym.data.video import PLAYABLE, write_video
from streamdit_gym.errors import require
from streamdit_gym.files import atomic_write

PANEL_PX = 320  # longer edge of an enlarged frame; larger ones keep their size
BAR_PX = 56  # height of the bars above and below it
BACKGROUND = 28
TEXT_COLOUR = (240, 240, 240)


def panel(
    frame: UInt8[np.ndarray, "h w 3"], title: str, caption: str
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a frame enlarged, with a title above and a caption below."""
    height, width = _panel_size(frame.shape[:2])
    large = cv2.resize(frame, (width, height), interpolation=cv2.INTER_NEAREST)
    picture = np.full((height + 2 * BAR_PX, width, 3), BACKGROUND, dtype=np.uint8)
    picture[BAR_PX : BAR_PX + height] = large
    _write_text(picture, title, 36, 0.7)
    _write_text(picture, caption, height + BAR_PX + 36, 0.6)
    return picture


def _panel_size(frame_size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of an enlarged frame, even as videos need them."""
    scale = max(1.0, PANEL_PX / max(frame_size))
    height, width = (2 * round(scale * side / 2) for side in frame_size)
    return height, width


def _write_text(picture: UInt8[np.ndarray, "H W 3"], text: str, y: int, scale: float) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, (12, y), font, scale, TEXT_COLOUR, 1, cv2.LINE_AA)


def side_by_side(
    panels: Sequence[UInt8[np.ndarray, "h w 3"]], gap: int = 8
) -> UInt8[np.ndarray, "H W 3"]:
    """Join panels with a gap (px)."""
    spacer = np.full((panels[0].shape[0], gap, 3), BACKGROUND, dtype=np.uint8)
    parts = [panels[0]]
    for picture in panels[1:]:
        parts += [spacer, picture]
    return np.concatenate(parts, axis=1)


def write_mp4(path: Path, frames: Sequence[UInt8[np.ndarray, "h w 3"]], fps: int) -> None:
    """Write an H.264 film that browsers play, whole or not at all; odd edges are cut by a pixel."""
    height, width = (size - size % 2 for size in frames[0].shape[:2])
    even_frames = np.stack([frame[:height, :width] for frame in frames])
    with atomic_write(path) as part:
        write_video(part, even_frames, fps, PLAYABLE)


def plot_curve(
    path: Path, points: Sequence[tuple[int, float]], floor: float, title: str, ylabel: str
) -> None:
    """Draw a learning curve.

    Args:
        path: the picture.
        points: (step, return) of every episode; drawn as dots, with their running mean.
        floor: the random policy's mean return; drawn as a line.
        title: of the picture.
        ylabel: of the returns.
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
    axes.axhline(floor, color="tab:gray", linestyle="--", label="random policy")
    axes.set(xlabel="environment steps in the generated world", ylabel=ylabel, title=title)
    axes.legend()
    with atomic_write(path) as part:
        figure.savefig(part, dpi=120)
    pyplot.close(figure)
