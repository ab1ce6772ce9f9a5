"""Reading and writing H.264 files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.errors import require


@dataclass(frozen=True, kw_only=True)
class VideoEncoding:
    """How a video is encoded: FFmpeg's names and options."""

    codec: str
    pixel_format: str
    codec_options: dict[str, str]
    container_options: dict[str, str] = field(default_factory=dict)


LOSSLESS = VideoEncoding(
    codec="libx264rgb",
    pixel_format="rgb24",
    codec_options={"qp": "0", "preset": "veryfast", "g": "97"},
    container_options={"fflags": "+bitexact"},
)
# Played by browsers, and read at random by loaders: small groups of pictures. One thread and no
# "mbtree", with which x264 makes other bytes of the same frames now and then (measured: 3 outcomes
# in 25 runs), and a resumed run would not equal an undisturbed one.
PLAYABLE = VideoEncoding(
    codec="libx264",
    pixel_format="yuv420p",
    codec_options={
        "crf": "14",
        "preset": "veryfast",
        "g": "8",
        "threads": "1",
        "x264-params": "mbtree=0",
    },
    container_options={"movflags": "+faststart"},
)


class VideoWriter:
    """Writes an H.264 file frame by frame.

    Args:
        path: the file.
        size: height and width of the frames.
        fps: frames per second.
        encoding: `LOSSLESS` or `PLAYABLE`.

    Raises:
        MissingExtraError: if PyAV is not installed.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: float, encoding: VideoEncoding
    ) -> None:
        self._av = require("av", "data", "a video")
        self._container = self._av.open(str(path), "w", options=encoding.container_options)
        self._stream = self._container.add_stream(
            encoding.codec, rate=round(fps), options=encoding.codec_options
        )
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = encoding.pixel_format

    def add(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the next frame."""
        pixels = np.ascontiguousarray(frame)
        picture = self._av.VideoFrame.from_ndarray(pixels, format="rgb24")
        for packet in self._stream.encode(picture):
            self._container.mux(packet)

    def close(self) -> None:
        """Write what the encoder still holds back, and the end of the file."""
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()


def write_video(
    path: Path, frames: UInt8[np.ndarray, "f h w 3"], fps: float, encoding: VideoEncoding
) -> None:
    """Write frames as H.264; see `VideoWriter`."""
    height, width = frames.shape[1:3]
    writer = VideoWriter(path, (height, width), fps, encoding)
    for frame in frames:
        writer.add(frame)
    writer.close()


def read_video(path: Path) -> UInt8[np.ndarray, "f h w 3"]:
    """Read every frame of a video.

    Raises:
        OSError: if there is no frame to read.
    """
    import cv2  # reads without loss what was written without, and training machines have it

    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        success, frame = capture.read()
        if not success:
            break
        frames.append(frame[..., ::-1])  # BGR to RGB
    capture.release()
    if not frames:
        raise OSError(f"no frames in {path}")
    return np.stack(frames)
