"""Which kind of recordings lies in a folder."""

from __future__ import annotations

from pathlib import Path

from streamdit_gym.data.imports.caption_file import PATTERN
from streamdit_gym.data.imports.lerobot_recordings import LeRobotRecordings
from streamdit_gym.data.imports.minari_recordings import MinariRecordings
from streamdit_gym.data.imports.recordings import ImportSettings, Recordings
from streamdit_gym.data.imports.video_recordings import VideoRecordings
from streamdit_gym.errors import DatasetError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
ALLOWED = (
    "a LeRobot data set (meta/info.json), a Minari data set (data/metadata.json), "
    f"or videos with one {PATTERN}"
)


def open_recordings(folder: Path, settings: ImportSettings) -> Recordings:
    """Return the recordings in a folder.

    Args:
        folder: a LeRobot data set, a Minari data set, or videos with a caption file.
        settings: how they are read.

    Raises:
        DatasetError: if there are none, or they cannot be read as a whole.
        UnknownNameError: if they have no camera of a name in the settings.
        ArgumentError: if they have nothing that a setting could choose.
        MissingExtraError: if the package that reads them is not installed.
    """
    if not folder.is_dir():
        raise DatasetError(
            "there is no such folder of recordings",
            given=folder,
            allowed=ALLOWED,
            remedy="check the path",
        )
    if (folder / "meta/info.json").is_file():
        return LeRobotRecordings(folder, settings)
    if (folder / "data/metadata.json").is_file() or (folder / "metadata.json").is_file():
        return MinariRecordings(folder, settings)
    if any(folder.glob(PATTERN)) or _has_videos(folder):
        return VideoRecordings(folder, settings)
    raise DatasetError(
        "no recordings here",
        given=f"{folder}, {_content(folder)}",
        allowed=ALLOWED,
        remedy="give the folder that holds these files itself",
    )


def _has_videos(folder: Path) -> bool:
    return any(path.suffix.lower() in VIDEO_SUFFIXES for path in folder.rglob("*"))


def _content(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "an empty folder"
    return f"with {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
