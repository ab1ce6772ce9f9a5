"""The reference simulator behind an environment.

Takes: rows to reset, actions to take.  Gives: frames (or their latents) and true scores.  Knows
    nothing of: rewards, episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from streamdit_gym.checks import shown
from streamdit_gym.definition import Simulator, WorldSpec
from streamdit_gym.envs.backends import Frames, Latents, Scores, Seen, readout
from streamdit_gym.errors import ArgumentError, StreamDiTError
from streamdit_gym.model.precision import precision
from streamdit_gym.stream.saved import REMEDY, check_list
from streamdit_gym.world import World


class SimulatorBackend:
    """Frames from the reference simulator: one for each row.

    Args:
        spec: the world.
        make: makes a simulator.
        rows: number of environments.
        starts: how episodes begin, with their share.
        encoder: the world that encodes the frames, so that latents are handed out; None: frames
            are.
    """

    latency_frames = 0
    takes_init = False
    device = torch.device("cpu")

    def __init__(
        self,
        spec: WorldSpec,
        make: Callable[[], Simulator],
        rows: int,
        starts: dict[str, float],
        encoder: World | None = None,
    ) -> None:
        self.spec = spec
        self._make = make
        self._starts = starts
        self._encoder = encoder
        self.simulators = [make() for _ in range(rows)]
        self._spare: list[
            Simulator
        ] = []  # which a state is restored into, so that an error changes nothing

    @torch.no_grad()
    def picture(self, seen: Seen) -> Frames:
        """Decode latents; frames are frames."""
        if self._encoder is None:
            return seen
        with precision(self.device, False):
            return self._encoder.codec.decode(seen[:, None])[:, 0]

    def readout(self, latents: Latents) -> Float[Tensor, "n o"]:
        """Return what the encoder's world reads off latents."""
        assert self._encoder is not None
        with precision(self.device, False):
            return readout(self._encoder.readout, latents)

    def reset(
        self,
        rows: Sequence[int],
        rngs: Sequence[np.random.Generator],
        init: Frames | None,
    ) -> tuple[Seen, Scores]:
        """Start rows as the training data's episodes start."""
        names = list(self._starts)
        shares = list(self._starts.values())
        simulators = [self.simulators[row] for row in rows]
        frames = []
        for simulator, rng in zip(simulators, rngs, strict=True):
            start = str(rng.choice(names, p=shares))
            frames.append(simulator.reset(rng, start))
        return self._gather(frames, simulators)

    def step(self, prompts: list[str], actions: Sequence[int] | None) -> tuple[Seen, Scores]:
        """Take every row's action."""
        assert actions is not None  # the environment refuses free text when it is made
        frames = []
        for simulator, action in zip(self.simulators, actions, strict=True):
            frames.append(simulator.step(int(action)))
        return self._gather(frames, self.simulators)

    def self_consistency_error(self) -> Float[Tensor, " n"]:
        """Return zeros: a simulator is always of one mind."""
        return torch.zeros(len(self.simulators), dtype=torch.float32)

    def save(self) -> Any:
        """Return every simulator's state."""
        return [simulator.save() for simulator in self.simulators]

    def finite(self) -> Bool[Tensor, " n"]:
        """Return True for every row: a simulator's numbers are its scores,
        which the environment looks at.
        """
        return torch.ones(len(self.simulators), dtype=torch.bool)

    def check(self, state: Any, finite: Bool[np.ndarray, " n"]) -> None:
        """Refuse what is no list of one state for each row;
        `restore` lets the simulators judge the rest.
        """
        check_list("backend", state, len(self.simulators))

    def restore(self, state: Any) -> None:
        """Go back to saved states.

        Raises:
            StreamDiTError: if a simulator refuses its state.
        """
        self._spare = self._spare or [self._make() for _ in self.simulators]
        for simulator, saved in zip(self._spare, state, strict=True):
            try:
                simulator.restore(saved)
            except StreamDiTError:
                raise
            except Exception as error:  # a simulator may be anybody's
                raise ArgumentError(
                    "the simulator cannot go back to this state",
                    given=f"{shown(saved)} ({type(error).__name__}: {error})",
                    allowed="what its save() returned",
                    remedy=REMEDY,
                ) from error
        self.simulators, self._spare = self._spare, self.simulators

    def close(self) -> None:
        """Close every simulator."""
        for simulator in (*self.simulators, *self._spare):
            simulator.close()

    @torch.no_grad()
    def _gather(
        self,
        frames: list[UInt8[np.ndarray, "h w 3"]],
        simulators: list[Simulator],
    ) -> tuple[Seen, Scores]:
        seen = torch.from_numpy(np.stack(frames))
        if self._encoder is not None:
            with precision(self.device, False):
                seen = self._encoder.codec.encode(seen[:, None])[:, 0].float()
        return seen, torch.from_numpy(np.stack([s.scores() for s in simulators]))
