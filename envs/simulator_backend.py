"""The reference simulator behind an environment: one simulator for each row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from streamdit_gym.checks import shown
from streamdit_gym.data.episode import outcome_of, scores_of
from streamdit_gym.data.trial_episodes import simulator_of
from streamdit_gym.definition import SavesState, Simulator, WorldDefinition
from streamdit_gym.envs.backend import Frames, Init, Latents, Reading, States, read_latents
from streamdit_gym.errors import ArgumentError, NotReadyError, StreamDiTError
from streamdit_gym.model.precision import precision
from streamdit_gym.stream.saved import REMEDY, check_list
from streamdit_gym.world import World


class SimulatorBackend:
    """Frames and true scores from a world's reference simulator.

    Args:
        definition: the world.
        rows: number of environments.
        encoder: the world whose encoder makes latents of the frames; None: frames are returned.
    """

    latency_frames = 0
    takes_init = False
    device = torch.device("cpu")

    def __init__(
        self,
        definition: WorldDefinition,
        rows: int,
        encoder: World | None = None,
    ) -> None:
        self.spec = definition.spec
        self._make = partial(simulator_of, definition)
        self._starts = definition.starts
        self._encoder = encoder
        self.simulators = [self._make() for _ in range(rows)]
        # States are restored into these, so that an error changes nothing.
        self._spare: list[Simulator] = []

    @torch.no_grad()
    def frames_of(self, observed: Frames | Latents) -> Frames:
        """Decode latents; frames are frames."""
        if self._encoder is None:
            return observed
        return self._encoder.decode(observed[:, None])[:, 0]

    def readout(self, latents: Latents) -> States:
        """Return the encoder's world's readout of latents."""
        assert self._encoder is not None
        with precision(self.device, False):
            return read_latents(self._encoder.readout, latents)

    def reset(
        self, rows: Sequence[int], rngs: Sequence[np.random.Generator], init: Init | None
    ) -> Reading:
        """Start rows as the training data's episodes start."""
        names = list(self._starts)
        shares = list(self._starts.values())
        simulators = [self.simulators[row] for row in rows]
        frames = []
        for simulator, rng in zip(simulators, rngs, strict=True):
            start = str(rng.choice(names, p=shares))
            frames.append(simulator.reset(rng, start))
        return self._read(frames, simulators)

    def step(self, prompts: list[str], actions: np.ndarray | None) -> Reading:
        """Take every row's action."""
        assert actions is not None  # the settings refuse free text
        frames = []
        for simulator, action in zip(self.simulators, actions, strict=True):
            frames.append(simulator.step(own_action(action)))
        reading = self._read(frames, self.simulators)
        outcomes = [outcome_of(simulator) for simulator in self.simulators]
        return reading._replace(
            rewards=torch.tensor([outcome.reward for outcome in outcomes], dtype=torch.float32),
            ends=torch.tensor([outcome.terminated for outcome in outcomes], dtype=torch.float32),
        )

    def self_consistency_error(self) -> Float[Tensor, " n"]:
        """Return zeros: a simulator always agrees with itself."""
        num_envs = len(self.simulators)
        return torch.zeros(num_envs, dtype=torch.float32)

    def save(self) -> Any:
        """Return every simulator's state."""
        return [_saved(simulator) for simulator in self.simulators]

    def finite(self) -> Bool[Tensor, " n"]:
        """Return True for every row: the environment itself looks at a simulator's scores."""
        num_envs = len(self.simulators)
        return torch.ones(num_envs, dtype=torch.bool)

    def check(self, state: Any, finite: Bool[np.ndarray, " n"]) -> None:
        """Refuse what is no list of one state for each row; `restore` checks the states."""
        check_list("backend", state, len(self.simulators))

    def restore(self, state: Any) -> None:
        """Go back to saved states.

        Raises:
            StreamDiTError: if a simulator refuses its state.
        """
        if not self._spare:
            self._spare = [self._make() for _ in self.simulators]
        for simulator, saved in zip(self._spare, state, strict=True):
            _restore(simulator, saved)
        self.simulators, self._spare = self._spare, self.simulators

    def close(self) -> None:
        """Close every simulator."""
        for simulator in (*self.simulators, *self._spare):
            simulator.close()

    @torch.no_grad()
    def _read(
        self, frames: list[UInt8[np.ndarray, "h w 3"]], simulators: list[Simulator]
    ) -> Reading:
        scores = [scores_of(simulator) for simulator in simulators]
        observed = torch.from_numpy(np.stack(frames))
        if self._encoder is not None:
            latents = self._encoder.encode(observed[:, None])
            observed = latents[:, 0].float()
        return Reading(observed, torch.from_numpy(np.stack(scores)))


def own_action(action: Any) -> Any:
    """Return an action as simulators take it: a number of a menu, or a copy of a box's values."""
    values = np.asarray(action)
    return values.copy() if values.ndim else int(values)


def _saved(simulator: Simulator) -> Any:
    if not isinstance(simulator, SavesState):
        raise NotReadyError(
            "this simulator cannot save its state",
            given=type(simulator).__name__,
            allowed="a simulator with `save` and `restore`",
            remedy="write the two methods, or save states of the generated world",
        )
    return simulator.save()


def _restore(simulator: Simulator, saved: Any) -> None:
    assert isinstance(simulator, SavesState)  # what is restored was saved by one
    try:
        simulator.restore(saved)
    except StreamDiTError:
        raise
    except Exception as error:  # anybody may have written the simulator
        raise ArgumentError(
            "the simulator cannot go back to this state",
            given=f"{shown(saved)} ({type(error).__name__}: {error})",
            allowed="what its save() returned",
            remedy=REMEDY,
        ) from error
