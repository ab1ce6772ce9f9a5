"""The user's own start frames and clips: pictures from a folder, episodes of a data set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import DatasetError, StreamDiTError

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def start_images(folder: Path, frame_size: tuple[int, int]) -> UInt8[np.ndarray, "n h w 3"]:
    """Read every picture of a folder: its middle, in the world's size, laid on white.

    Args:
        folder: the pictures' folder.
        frame_size: height and width of the world's frames (px).

    Raises:
        StreamDiTError: if there is none, or one cannot be read.
    """
    paths = []
    if folder.is_dir():
        names = sorted(folder.glob("*"))
        paths = [path for path in names if path.suffix.lower() in PICTURE_SUFFIXES]
    if not paths:
        raise StreamDiTError(
            "no pictures to start from",
            given=folder,
            allowed="a folder of PNG or JPEG files",
            remedy="leave images out",
        )
    return np.stack([_start_image(path, frame_size) for path in paths])


def _start_image(path: Path, frame_size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the largest part of the frames' shape in a picture's middle, resized."""
    picture = _read_on_white(path)
    if picture is None:
        remedy = "delete or replace it"
        raise StreamDiTError("a picture cannot be read", given=path, remedy=remedy)
    picture_height, picture_width = picture.shape[:2]
    frame_height, frame_width = frame_size
    scale = min(picture_height / frame_height, picture_width / frame_width)
    height = max(1, round(scale * frame_height))
    width = max(1, round(scale * frame_width))
    top = (picture_height - height) // 2
    left = (picture_width - width) // 2
    middle = picture[top : top + height, left : left + width, ::-1]
    interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    return cv2.resize(middle, (frame_width, frame_height), interpolation=interpolation)


def _read_on_white(path: Path) -> UInt8[np.ndarray, "h w 3"] | None:
    """Read a picture as BGR, laid on white where it has alpha; None if it cannot be read."""
    opaque = cv2.imread(str(path))
    with_alpha = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if with_alpha is None or with_alpha.ndim != 3 or with_alpha.shape[2] != 4:
        return opaque
    largest = 65535 if with_alpha.dtype == np.uint16 else 255
    pixels = with_alpha / largest
    alpha = pixels[..., 3:]
    on_white = pixels[..., :3] * alpha + 1 - alpha
    return np.rint(255 * on_white).astype(np.uint8)


class Clips:
    """The episodes of a data set, one after the other, and then again from the first.

    Args:
        dataset: the data set.
        steps: frames that are needed of each, beside the first.
        frame_size: height and width of the world's frames (px).

    Raises:
        DatasetError: if its frames have another size.
        StreamDiTError: if its episodes are too short.
    """

    def __init__(self, dataset: Dataset, steps: int, frame_size: tuple[int, int]) -> None:
        if dataset.frame_size != frame_size:
            raise DatasetError(
                "clips of another size",
                given=dataset.frame_size,
                allowed=frame_size,
                remedy="clips of the same world",
            )
        self.dataset = dataset
        self.steps = steps
        self._places: list[tuple[int, int]] = []  # shard's position and row of every episode
        for position in range(len(dataset)):
            for row in range(dataset.episodes(position)):
                self._places.append((position, row))
        self._position = 0
        self._frames: UInt8[np.ndarray, "e f h w 3"] = dataset.shard(0).frames
        longest = self._frames.shape[1] - 1
        if steps > longest:
            raise StreamDiTError(
                "the clips are too short",
                given=f"{steps} steps",
                allowed=f"{longest} or fewer",
                remedy="lower --steps",
            )

    def clip(self, number: int) -> UInt8[np.ndarray, "f h w 3"]:
        """Return a clip."""
        position, row = self._places[number % len(self._places)]
        if position != self._position:
            self._position = position
            self._frames = self.dataset.shard(position).frames
        return self._frames[row, : self.steps + 1]
