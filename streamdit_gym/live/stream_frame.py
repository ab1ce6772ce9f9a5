"""What a live stream returns: its frames, and the chunks still in its buffer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

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
