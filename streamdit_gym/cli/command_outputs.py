"""What commands write beside their main result: figures as JSON, and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamdit_gym.errors import ArgumentError, require
from streamdit_gym.files import atomic_write, write_text


def write_json(path: Path | None, content: Any) -> None:
    """Write figures as JSON; None writes nothing."""
    if path is not None:
        write_text(path, json.dumps(content, indent=1) + "\n")


def save_picture(path: Path, pixels: Any) -> None:
    """Save an RGB picture in the format that the file's suffix names.

    Args:
        path: the file, such as ``strip.png``.
        pixels: uint8 array ``(height, width, 3)``.

    Raises:
        ArgumentError: if the file has no suffix.
        MissingExtraError: if Pillow is not installed.
    """
    if not path.suffix:
        raise ArgumentError(
            "a picture needs a format",
            given=path,
            allowed=".png, .jpg, ...",
            remedy="name it as in strip.png",
        )
    image = require("PIL.Image", "train", "a picture").fromarray(pixels)
    with atomic_write(path) as part:
        image.save(part)
