"""What a live stream returns: its frames, and the chunks still in its buffer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.checks import shown
from streamdit_gym.errors import ShapeError
from streamdit_gym.live.renamed import RenamedAttributes

Image = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, kw_only=True)
class StreamFrame(RenamedAttributes):
    """One generated frame of a stream.

    Attributes:
        number: its position in the stream, from 1.
        image: its pixels.
        prompt: the text that it was conditioned on.
        readout: what the world's readout estimates from it, by name: state, potentials, successes.
        simulator_image: the reference simulator's frame at the same time. None without a simulator,
            and where the simulator could not start from the stream's start frame.
        simulator_action: the action prompt that the simulator executed; None where it has no frame.
        restarted: whether the stream restarted before this frame, because its latents were no
            longer finite.
    """

    number: int
    image: Image
    prompt: str
    readout: dict[str, float]
    simulator_image: Image | None
    simulator_action: str | None
    restarted: bool = False

    _renamed: ClassVar = {
        "picture": "image",
        "scores": "readout",
        "twin": "simulator_image",
        "understood": "simulator_action",
    }


@dataclass(frozen=True, kw_only=True)
class BufferSlot(RenamedAttributes):
    """A chunk in the buffer.

    Attributes:
        prompt: the text that it is conditioned on.
        progress: how far it is denoised, from 0 (noise) to 1 (clean).
    """

    prompt: str
    progress: float

    _renamed: ClassVar = {"done": "progress"}


def checked_image(image: Image, shape: tuple[int, int, int]) -> Image:
    """Return a copy of a start frame of the right shape: the caller's may be read-only.

    Raises:
        ShapeError: if it has another shape or type.
    """
    is_array = isinstance(image, np.ndarray)
    if not is_array or image.shape != shape or image.dtype != np.uint8:
        raise ShapeError(
            "the start frame does not fit",
            given=f"{image.shape} {image.dtype}" if is_array else shown(image),
            allowed=f"{shape} uint8, without transparency",
            remedy="resize it; lay a transparent picture on a background",
        )
    return np.array(image)
