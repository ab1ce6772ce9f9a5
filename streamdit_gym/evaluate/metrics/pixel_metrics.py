"""Comparisons of frames pixel by pixel."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch.nn import functional

from streamdit_gym.evaluate.candidate import Frames
from streamdit_gym.evaluate.statistics import Estimate, estimate, psnr, ratio

MOVING_LEVEL = 8  # grey levels by which a pixel that moves differs from the first frame
SSIM_WINDOW = 7
SSIM_C1 = (0.01 * 255) ** 2
SSIM_C2 = (0.03 * 255) ** 2


def moving_psnr(
    shown: Frames, real: Frames, first: Frames, is_frame: Bool[np.ndarray, "e f"] | None = None
) -> Estimate:
    """Return the PSNR over the pixels that differ between the real and the first real frames.

    Args:
        shown: frames to judge.
        real: what they should be.
        first: the first real frame of each episode.
        is_frame: which frames count; default: all.
    """
    moving = moving_pixels(real, first)
    if is_frame is not None:
        moving &= is_frame[..., None, None]
    return estimate(squared_errors(shown, real, moving), psnr)


def frame_psnr(
    shown: Frames, real: Frames, is_frame: Bool[np.ndarray, "e f"] | None = None
) -> Estimate:
    """Return the PSNR over all pixels; of all frames, or of some."""
    mask = np.ones(real.shape[:-1], dtype=bool)
    if is_frame is not None:
        mask &= is_frame[..., None, None]
    return estimate(squared_errors(shown, real, mask), psnr)


def motion_ratio(generated: Frames, real: Frames, is_step: Bool[np.ndarray, "e s"]) -> Estimate:
    """Return how much generated frames change from one to the next, over how much real ones do."""
    steps = is_step.sum(1).clip(1)
    changes = []
    for frames in (generated, real):
        levels = frames.astype(np.int16)
        differences = np.abs(np.diff(levels, axis=1)).mean((2, 3, 4))
        changes.append((differences * is_step).sum(1) / steps)
    return estimate(np.stack(changes, -1), ratio)


def moving_pixels(frames: Frames, first: Frames) -> Bool[np.ndarray, "e f h w"]:
    """Return which pixels differ from the first frames."""
    differences = np.abs(frames.astype(np.int16) - first)
    return differences.max(-1) > MOVING_LEVEL


def squared_errors(
    shown: Frames, real: Frames, mask: Bool[np.ndarray, "e f h w"]
) -> Float[np.ndarray, "e 2"]:
    """Return every episode's sum of squared errors under a mask, and the pixels in it."""
    differences = shown.astype(float) - real
    per_pixel = (differences**2).mean(-1) * mask
    errors = per_pixel.sum((1, 2, 3))
    pixels = mask.sum((1, 2, 3))
    return np.stack([errors, pixels], -1)


def ssim(shown: Frames, real: Frames) -> Float[np.ndarray, "e f"]:
    """Return the structural similarity of grey frames, by uniform windows (Wang et al., 2004)."""
    x = _grey(shown)
    y = _grey(real)
    mean_x = _window_mean(x)
    mean_y = _window_mean(y)
    variance_x = _window_mean(x * x) - mean_x**2
    variance_y = _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    mean_product = 2 * mean_x * mean_y + SSIM_C1
    mean_squares = mean_x**2 + mean_y**2 + SSIM_C1
    twice_covariance = 2 * covariance + SSIM_C2
    variances = variance_x + variance_y + SSIM_C2
    similarity = (mean_product * twice_covariance) / (mean_squares * variances)
    return similarity.mean((-1, -2)).numpy()


def sharpness_and_level(frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, "f 2"]:
    """Return each frame's sharpness and mean grey level.

    Sharpness is the root mean square of the differences between neighbouring pixels.
    """
    grey = frames.astype(np.float32).mean(-1)
    across_square, down_square = _squared_contrasts(grey)
    sharpness = np.sqrt(across_square.mean((1, 2)) + down_square.mean((1, 2)))
    level = grey.mean((1, 2))
    return np.stack([sharpness, level], -1)


def contrast_under(
    mask: Bool[np.ndarray, "*n h w"], frames: UInt8[np.ndarray, "*n h w 3"]
) -> Float[np.ndarray, "*n"]:
    """Return each frame's sum of squared differences between neighbouring pixels under a mask.

    The root of the ratio of two such sums is a ratio of sharpness, as that of
    `sharpness_and_level`, but of all colours: mixed colours may be as dark as pure ones.
    """
    channels = np.moveaxis(frames.astype(np.float32), -1, 0)
    across_square, down_square = (each.mean(0) for each in _squared_contrasts(channels))
    across_sum = (across_square * mask[..., :, :-1]).sum((-1, -2))
    down_sum = (down_square * mask[..., :-1, :]).sum((-1, -2))
    total: Float[np.ndarray, "*n"] = across_sum + down_sum
    return total


def disc(
    centres: Float[np.ndarray, "e 2"], radius: float, frame_size: tuple[int, int]
) -> Bool[np.ndarray, "e h w"]:
    """Return the pixels of a frame around some centres (x, y in px)."""
    height, width = frame_size
    columns = np.arange(width) + 0.5
    rows = np.arange(height) + 0.5
    x = centres[:, 0, None, None]
    y = centres[:, 1, None, None]
    across = columns[None, None, :] - x
    down = rows[None, :, None] - y
    squared_distance = across**2 + down**2
    return squared_distance < radius**2


def _squared_contrasts(
    levels: Float[np.ndarray, "*n h w"],
) -> tuple[Float[np.ndarray, "*n h v"], Float[np.ndarray, "*n g w"]]:
    """Return the squared differences of pixels and their neighbours to the right, and below."""
    return np.diff(levels, axis=-1) ** 2, np.diff(levels, axis=-2) ** 2


def _grey(frames: Frames) -> torch.Tensor:
    return torch.from_numpy(frames.astype(np.float32).mean(-1))


def _window_mean(values: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(values, SSIM_WINDOW, stride=1)
