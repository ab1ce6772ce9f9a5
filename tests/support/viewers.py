"""A viewer that records what it receives, for the tests of sessions and of the page's server."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np


@dataclass(frozen=True)
class ReceivedFrame:
    """A frame as it arrived: when, its header, its images."""

    time: float
    header: dict[str, Any]
    images: list[np.ndarray]

    @property
    def number(self) -> int:
        return int(self.header["number"])


class RecordingViewer:
    """Keeps all frames and messages."""

    def __init__(self) -> None:
        self.frames: list[ReceivedFrame] = []
        self.messages: list[dict[str, Any]] = []

    def send_frame(self, packed: bytes) -> None:
        self.frames.append(ReceivedFrame(time.monotonic(), *unpack_frame(packed)))

    def send_message(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def wait_for(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Return a condition's value once it is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.005)
        raise AssertionError(f"nothing after {seconds} s; messages {self.messages[-3:]}")

    def wait_for_message(self, seconds: float = 10.0, **fields: Any) -> dict[str, Any]:
        """Return the first message with some fields, once it is there."""

        def first() -> dict[str, Any] | None:
            for message in list(self.messages):
                if fields.items() <= message.items():
                    return message
            return None

        return self.wait_for(first, seconds)

    def wait_for_frames(self, count: int) -> None:
        """Wait until so many more frames have arrived."""
        target = len(self.frames) + count
        self.wait_for(lambda: len(self.frames) >= target)


def unpack_frame(packed: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return the header and the images of a packed frame."""
    (length,) = struct.unpack(">I", packed[:4])
    header = json.loads(packed[4 : 4 + length])
    start = 4 + length
    images = []
    for size in header["jpeg_sizes"]:
        jpeg = np.frombuffer(packed[start : start + size], np.uint8)
        images.append(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])
        start += size
    assert start == len(packed)
    return header, images
