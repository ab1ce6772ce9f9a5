"""What a LeRobot data set says about its features: cameras, state vectors, names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamdit_gym.checks import shown
from streamdit_gym.errors import DatasetError

ACTION, REWARD, SUCCESS = "action", "next.reward", "next.success"
DONE, TRUNCATED = "next.done", "next.truncated"
STATE_PREFIX = "observation."
NUMBER_TYPES = ("float32", "float64", "int32", "int64")
VIDEO, IMAGE = "video", "image"


@dataclass(frozen=True)
class Features:
    """The features of ``meta/info.json``.

    Attributes:
        entries: by name, as the file has them.
    """

    entries: Mapping[str, Mapping[str, Any]]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a feature."""
        return name in self.entries

    @property
    def cameras(self) -> list[str]:
        """The cameras, without those that see depth.

        Raises:
            DatasetError: if there are none.
        """
        cameras = []
        for name, entry in self.entries.items():
            sees_depth = (entry.get("info") or {}).get("video.is_depth_map")
            if entry.get("dtype") in (VIDEO, IMAGE) and not sees_depth:
                cameras.append(name)
        if not cameras:
            raise DatasetError(
                "a LeRobot data set without pictures",
                given=f"features {', '.join(self.entries)}",
                allowed="a feature whose dtype is video or image",
                remedy="record at least one camera",
            )
        return cameras

    def is_video(self, camera: str) -> bool:
        """Return whether a camera's pictures are in videos, and not in tables."""
        return self.entries[camera]["dtype"] == VIDEO

    @property
    def states(self) -> dict[str, list[str]]:
        """The features that are vectors and describe the state: names of their numbers."""
        states = {}
        for name, entry in self.entries.items():
            is_vector = entry.get("dtype") in NUMBER_TYPES and len(entry.get("shape") or ()) == 1
            if name.startswith(STATE_PREFIX) and is_vector:
                states[name] = self.names_of(name)
        return states

    def width(self, feature: str) -> int:
        """Return how many numbers a vector has.

        Raises:
            DatasetError: if the feature is no vector.
        """
        shape: Any = self.entries[feature].get("shape")
        is_list = isinstance(shape, (list, tuple)) and len(shape) == 1
        if not is_list or not isinstance(shape[0], int) or shape[0] < 1:
            raise DatasetError(
                f"the feature {feature} is no vector",
                given=f"shape {shown(shape)}",
                allowed="a list of one number, such as [6]",
                remedy="mend meta/info.json, or record vectors",
            )
        return int(shape[0])

    def names_of(self, feature: str) -> list[str]:
        """Return a name for every number of a vector, made up where the data set has none.

        Raises:
            DatasetError: if the feature is no vector.
        """
        width = self.width(feature)
        names = self.entries[feature].get("names")
        if isinstance(names, dict):  # {"motors": ["shoulder", ...]}, or {"x": 0, "y": 1}
            lists = [value for value in names.values() if isinstance(value, list)]
            names = lists[0] if lists else list(names)
        if isinstance(names, list) and len(names) == width == len({str(name) for name in names}):
            return [str(name) for name in names]
        base = feature.rsplit(".", 1)[-1]
        return [f"{base} {number}" for number in range(1, width + 1)]
