"""What viewers receive: packed frames and messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live.stream_frame import BufferSlot, Image, StreamFrame

Message = dict[str, Any]
JPEG_OPTIONS = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


class Viewer(Protocol):
    """Receives a session's frames and messages.

    The session's thread calls both methods, so they must return at once.
    """

    def send_frame(self, packed: bytes) -> None:
        """Take a frame; it replaces one that has not been sent yet."""

    def send_message(self, message: Message) -> None:
        """Take a message."""


def pack_frame(frame: StreamFrame, slots: Sequence[BufferSlot], fps: float) -> bytes:
    """Return a frame as viewers receive it.

    The bytes are the header's length (4 bytes, big endian), the header (JSON), and one JPEG for
    each image: the generated one, then the simulator's if there is one. ``jpeg_sizes`` in the
    header has the lengths of the JPEGs.

    Args:
        frame: the frame.
        slots: the chunks in the buffer behind it.
        fps: measured frames per second.
    """
    images = [frame.image]
    if frame.simulator_image is not None:
        images.append(frame.simulator_image)
    jpegs = [_encode_jpeg(image) for image in images]
    header = {
        "number": frame.number,
        "prompt": frame.prompt,
        "simulator_action": frame.simulator_action,
        "buffer": [{"prompt": slot.prompt, "progress": slot.progress} for slot in slots],
        "fps": round(fps, 1),
        "jpeg_sizes": [len(jpeg) for jpeg in jpegs],
    }
    text = json.dumps(header).encode()
    return b"".join([struct.pack(">I", len(text)), text, *jpegs])


def _encode_jpeg(image: Image) -> bytes:
    bgr = image[..., ::-1]
    _, encoded = cv2.imencode(".jpg", bgr, JPEG_OPTIONS)
    return encoded.tobytes()


def error_message(error: StreamDiTError) -> Message:
    """Return an error as a message."""
    return {
        "kind": "error",
        "problem": error.problem,
        "given": _text_or_none(error.given),
        "allowed": _text_or_none(error.allowed),
        "remedy": error.remedy,
    }


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def recorded_message(path: Path, num_frames: int) -> Message:
    """Return the message that a film is finished."""
    return {"kind": "recorded", "name": path.name, "frames": num_frames}
