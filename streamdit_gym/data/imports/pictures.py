"""Recorded pictures become frames: area averages, one beside the other, from videos or arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.data.imports.recordings import UnreadableEpisodeError
from streamdit_gym.data.imports.resampling import Resampling
from streamdit_gym.errors import require

Frame = UInt8[np.ndarray, "h w 3"]
RED_GREEN_BLUE = 3


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A part of a video.

    Attributes:
        path: the video.
        start: in seconds from the beginning of the video.
        end: seconds at which the first frame behind the clip is shown; None: the video's end.
    """

    path: Path
    start: float = 0.0
    end: float | None = None


def resized(frame: np.ndarray, size: tuple[int, int]) -> Frame:
    """Return a picture in another size: every pixel is the mean of what it covers."""
    if frame.shape[:2] == size:
        return np.ascontiguousarray(frame)
    import cv2  # machines that only train on a data set may lack it

    height, width = size
    scaled = cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, dtype=np.uint8)


def camera_sizes(size: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """Return what each of one or two cameras gets of a frame: halves of its longer side."""
    height, width = size
    if count == 1:
        return [size]
    if height > width:
        return [(height // 2, width), (height - height // 2, width)]
    return [(height, width // 2), (height, width - width // 2)]


def tiled(
    cameras: Sequence[UInt8[np.ndarray, "f _ _ 3"]], size: tuple[int, int]
) -> UInt8[np.ndarray, "f h w 3"]:
    """Return the pictures of one or two cameras as one, see `camera_sizes`."""
    if len(cameras) == 1:
        return cameras[0]
    height, width = size
    return np.concatenate(cameras, axis=1 if height > width else 2)


def colour_pictures(pictures: np.ndarray) -> UInt8[np.ndarray, "f h w 3"]:
    """Return pictures in red, green and blue: grey ones are repeated, transparency is dropped.

    Args:
        pictures: uint8, channels last or first, 1, 3 or 4 of them.
    """
    if pictures.shape[-1] > 4:
        pictures = np.moveaxis(pictures, 1, -1)
    if pictures.shape[-1] == 1:
        return np.repeat(pictures, RED_GREEN_BLUE, axis=-1)
    return pictures[..., :RED_GREEN_BLUE]


def video_fps(path: Path) -> float:
    """Return a video's frames per second.

    Raises:
        UnreadableEpisodeError: if it cannot be read.
    """
    av = require("av", "data", "reading a video")
    try:
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate
    except (av.FFmpegError, OSError, IndexError) as error:
        raise UnreadableEpisodeError(f"{path.name}: {_reason(error)}") from error
    if not rate:
        raise UnreadableEpisodeError(f"{path.name} does not say its frames per second")
    return float(rate)


def read_clip(
    clip: Clip, size: tuple[int, int], resampling: Resampling
) -> tuple[UInt8[np.ndarray, "g h w 3"], int]:
    """Return the frames of a clip that stay, and how many it has in the video.

    Raises:
        UnreadableEpisodeError: if the video cannot be read, or is shorter than the clip.
    """
    av = require("av", "data", "reading a video")
    frames: list[Frame] = []
    count = 0
    try:
        for picture in _pictures(av, clip, resampling.source_fps):
            while resampling.source_frame(len(frames)) == count:
                frames.append(resized(picture.to_ndarray(format="rgb24"), size))
            count += 1
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        raise UnreadableEpisodeError(f"{clip.path.name}: {_reason(error)}") from error
    missing = _missing_seconds(clip, count, resampling.source_fps)
    if not frames or missing > 0:
        raise UnreadableEpisodeError(
            f"{clip.path.name} ends {missing:.2f} s before the clip does"
            if frames
            else f"{clip.path.name} has no frames from {clip.start:g} s on"
        )
    return np.stack(frames), count


def _pictures(av: Any, clip: Clip, fps: float) -> Iterator[Any]:
    """Yield the pictures of a clip; times are compared half a frame early, as files round them."""
    half_frame = 0.5 / fps
    with av.open(str(clip.path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        first = stream.start_time or 0
        if clip.start > 0:
            container.seek(first + int(clip.start / stream.time_base), stream=stream)
        for picture in container.decode(stream):
            seconds = float((picture.pts - first) * stream.time_base)
            if seconds < clip.start - half_frame:
                continue
            if clip.end is not None and seconds >= clip.end - half_frame:
                return
            yield picture


def _missing_seconds(clip: Clip, count: int, fps: float) -> float:
    """Return how much earlier a video ends than a clip; one frame is rounding."""
    if clip.end is None:
        return 0.0
    expected = (clip.end - clip.start) * fps
    missing_frames = round(expected) - count
    return missing_frames / fps if missing_frames > 1 else 0.0


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__
