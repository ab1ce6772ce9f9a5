"""The part of an environment's picture that a world shows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.checks import check_real, shown
from streamdit_gym.data.imports.pictures import resized as area_averaged
from streamdit_gym.errors import DefinitionError

# top, bottom, left and right edge, as shares of a picture's height and width
Crop = tuple[float, float, float, float]
WHOLE_PICTURE: Crop = (0.0, 1.0, 0.0, 1.0)
MIN_SHARE = 0.1  # of a height or width


def check_crop(crop: Any) -> None:
    """Refuse edges that enclose no part of a picture.

    Raises:
        DefinitionError: if they are not four, or enclose less than a tenth of a side.
        ArgumentError: if an edge is no share from 0 to 1.
    """
    if not isinstance(crop, (tuple, list)) or len(crop) != 4:
        raise _no_crop(crop)
    for number, edge in enumerate(crop):
        check_real(f"edge {number} of crop", edge, least=0, most=1)
    top, bottom, left, right = crop
    if bottom - top < MIN_SHARE or right - left < MIN_SHARE:
        raise _no_crop(crop)


def cropped(picture: UInt8[np.ndarray, "H W 3"], crop: Crop) -> UInt8[np.ndarray, "h w 3"]:
    """Return what of a picture lies between four edges."""
    height, width = picture.shape[:2]
    top, bottom, left, right = crop
    rows = slice(round(top * height), round(bottom * height))
    columns = slice(round(left * width), round(right * width))
    return picture[rows, columns]


def resized(
    picture: UInt8[np.ndarray, "H W 3"], frame_size: tuple[int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a picture in a frame's size, and warn of one that has fewer pixels."""
    if picture.shape[:2] == frame_size:
        return picture.copy()
    height, width = frame_size
    if picture.shape[0] < height or picture.shape[1] < width:
        warnings.warn(
            f"a picture of {picture.shape[0]} x {picture.shape[1]} pixels is enlarged to frames of"
            f" {height} x {width}, which show no more than it does; a smaller frame_size, or a"
            " wider crop, is quicker to train",
            stacklevel=2,
        )
    return area_averaged(picture, frame_size)


def uncropped_size(frame_size: tuple[int, int], crop: Crop) -> tuple[int, int]:
    """Return height and width of a picture whose cropped part has a frame's size."""
    height, width = frame_size
    top, bottom, left, right = crop
    return round(height / (bottom - top)), round(width / (right - left))


def _no_crop(crop: Any) -> DefinitionError:
    return DefinitionError(
        "crop is no part of a picture",
        given=shown(crop),
        allowed="top, bottom, left and right edge from 0 to 1, each pair at least a tenth apart",
        remedy="crop=(0.0, 1.0, 0.0, 1.0) is the whole picture",
    )
