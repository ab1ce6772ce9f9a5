"""A batch of environments evaluated row by row, so that no row depends on the batch's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from streamdit_gym.envs.backend import Frames, Init, Latents, Reading, States
from streamdit_gym.envs.generated_backend import GeneratedBackend
from streamdit_gym.stream.saved import check_list


class RowByRow:
    """Generated backends of one row each, side by side.

    Args:
        backends: one for each row; all of the same world.
    """

    def __init__(self, backends: list[GeneratedBackend]) -> None:
        self.backends = backends
        first = backends[0]
        self.spec = first.spec
        self.latency_frames = first.latency_frames
        self.device = first.device
        self.takes_init = first.takes_init
        for backend in backends:  # with bfloat16 each would copy the weights
            backend.drawn_starts = first.drawn_starts

    def frames_of(self, observed: Frames | Latents) -> Frames:
        """Return frames, as any row's backend would."""
        return self.backends[0].frames_of(observed)

    def readout(self, latents: Latents) -> States:
        """Return the world's readout of latents, row by row."""
        first = self.backends[0]
        rows = latents.split(1)
        return torch.cat([first.readout(row) for row in rows])

    def reset(
        self, rows: Sequence[int], rngs: Sequence[np.random.Generator], init: Init | None
    ) -> Reading:
        """Start rows one after the other."""
        readings = []
        for i, (row, rng) in enumerate(zip(rows, rngs, strict=True)):
            own_init = init[i : i + 1] if isinstance(init, Tensor) else init
            readings.append(self.backends[row].reset([0], [rng], own_init))
        return _joined(readings)

    def step(self, prompts: list[str], actions: np.ndarray | None) -> Reading:
        """Step rows one after the other."""
        if actions is None:  # a prompt that cannot be embedded must stop every row, not some
            self.backends[0].world.prompts.of_texts(prompts)
        readings = []
        for row, backend in enumerate(self.backends):
            own_action = None if actions is None else actions[row : row + 1]
            readings.append(backend.step([prompts[row]], own_action))
        return _joined(readings)

    def self_consistency_error(self) -> Float[Tensor, " n"]:
        """Denoise the newest frames once more, row by row."""
        errors = [backend.self_consistency_error() for backend in self.backends]
        return torch.cat(errors)

    def save(self) -> Any:
        """Return every row's state."""
        return [backend.save() for backend in self.backends]

    def finite(self) -> Bool[Tensor, " n"]:
        """Return which rows' latents are finite."""
        flags = [backend.finite() for backend in self.backends]
        return torch.cat(flags)

    def check(self, state: Any, finite: Bool[np.ndarray, " n"]) -> None:
        """Refuse what is no list of one session for each row."""
        states = check_list("backend", state, len(self.backends))
        for row, backend in enumerate(self.backends):
            backend.check(states[row], finite[row : row + 1])

    def restore(self, state: Any) -> None:
        """Go back to saved states."""
        for backend, saved in zip(self.backends, state, strict=True):
            backend.restore(saved)

    def close(self) -> None:
        """Close every row."""
        for backend in self.backends:
            backend.close()


def _joined(readings: list[Reading]) -> Reading:
    columns: dict[str, Any] = {}
    for name in Reading._fields:
        parts = [getattr(reading, name) for reading in readings]
        columns[name] = None if parts[0] is None else torch.cat(parts)
    return Reading(**columns)
