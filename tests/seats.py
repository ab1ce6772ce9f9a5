"""A viewer that remembers, for the tests of channel and server."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np


class Seat:
    """A viewer that remembers."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, dict[str, Any], list[np.ndarray]]] = []
        self.messages: list[dict[str, Any]] = []

    def show(self, packed: bytes) -> None:
        self.frames.append((time.monotonic(), *unpack(packed)))

    def tell(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def wait(self, what: Callable[[Seat], Any], seconds: float = 10.0) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = what(self)
            if found:
                return found
            time.sleep(0.005)
        raise AssertionError(f"nothing after {seconds} s; messages {self.messages[-3:]}")


def unpack(packed: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    length = struct.unpack(">I", packed[:4])[0]
    header = json.loads(packed[4 : 4 + length])
    start, found = 4 + length, []
    for size in header["sizes"]:
        found.append(
            cv2.imdecode(np.frombuffer(packed[start : start + size], np.uint8), cv2.IMREAD_COLOR)[
                ..., ::-1
            ]
        )
        start += size
    assert start == len(packed)
    return header, found
