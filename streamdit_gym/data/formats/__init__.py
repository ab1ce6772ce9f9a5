"""Formats of a data set's frames on disk, each beside the same arrays."""

from __future__ import annotations

from streamdit_gym.data.formats.frame_format import FrameFormat
from streamdit_gym.data.formats.lerobot import LeRobot
from streamdit_gym.data.formats.minari import Minari
from streamdit_gym.data.formats.mkv import Mkv
from streamdit_gym.data.formats.mp4 import Mp4
from streamdit_gym.data.formats.webdataset import WebDataset
from streamdit_gym.errors import UnknownNameError

FORMATS: dict[str, type[FrameFormat]] = {
    "mkv": Mkv,
    "mp4": Mp4,
    "lerobot": LeRobot,
    "minari": Minari,
    "webdataset": WebDataset,
}


def frame_format(name: str) -> FrameFormat:
    """Return a format by name.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return FORMATS[name]()
