"""What an environment needs of whatever makes its frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from streamdit_gym.definition import WorldSpec
from streamdit_gym.envs.drawn_starts import Drawn
from streamdit_gym.model.readout import Readout

Frames = UInt8[Tensor, "n h w 3"]
Clips = UInt8[Tensor, "n f h w 3"]
Latents = Float[Tensor, "n c g g"]
Scores = Float[Tensor, "n m"]
States = Float[Tensor, "n o"]
Init = Clips | Drawn  # what rows start from: the caller's own frames, or a clip of the world's
MAX_ABS_READOUT = 10.0  # of standardised numbers, and of the logits of successes


class Reading(NamedTuple):
    """What a backend returns of some rows' newest frames.

    Attributes:
        observed: frames or latents.
        scores: the world's scores of them.
        states: the readout of the latents, where states are observed and the scores come from the
            same readout; else None.
        rewards: the environment's own rewards of the step; None where there are none.
        ends: probability that the step ended the episode; None where there is no end.
    """

    observed: Frames | Latents
    scores: Scores
    states: States | None = None
    rewards: Float[Tensor, " n"] | None = None
    ends: Float[Tensor, " n"] | None = None


class Backend(Protocol):
    """Makes the frames of a batch of environments; rows are environments."""

    spec: WorldSpec
    latency_frames: int
    device: torch.device
    takes_init: bool

    def reset(
        self, rows: Sequence[int], rngs: Sequence[np.random.Generator], init: Init | None
    ) -> Reading:
        """Start some rows anew; without `init` as the world's own episodes start."""

    def step(self, prompts: list[str], actions: np.ndarray | None) -> Reading:
        """Move every row by one frame; `actions` is None when prompts are free text."""

    def self_consistency_error(self) -> Float[Tensor, " n"]:
        """Return how far every row's newest frame is from itself, denoised once more."""

    def frames_of(self, observed: Frames | Latents) -> Frames:
        """Return what this backend handed out as frames."""

    def readout(self, latents: Latents) -> States:
        """Return the world's readout of latents that this backend handed out."""

    def finite(self) -> Bool[Tensor, " n"]:
        """Return which rows can go on: those whose numbers are finite."""

    def save(self) -> Any:
        """Return a copy of every row's state."""

    def check(self, state: Any, finite: Bool[np.ndarray, " n"]) -> None:
        """Refuse what `save` did not return; rows of `finite` must hold finite numbers only."""

    def restore(self, state: Any) -> None:
        """Go back to a state that `check` let pass: all rows, or none if there is an error."""

    def close(self) -> None:
        """Free what is held."""


@torch.no_grad()
def read_latents(readout: Readout, latents: Latents) -> States:
    """Return a world's readout of latents: states and scores, standardised and clamped."""
    one_frame_clips = latents[:, None]
    raw = readout.raw(one_frame_clips)
    return as_states(raw)


def as_states(raw: Float[Tensor, "n 1 o"]) -> States:
    """Return a readout's raw outputs of one-frame clips as they are observed."""
    numbers = raw[:, 0].float()
    return numbers.clamp(-MAX_ABS_READOUT, MAX_ABS_READOUT)
