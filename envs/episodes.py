"""What each environment of a batch has of its own while its episode lasts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from streamdit_gym.actions import ActionLanguage, SpokenBox
from streamdit_gym.envs.backend import Backend, Reading, States
from streamdit_gym.envs.state import EnvIdentity, EnvState

# Numbers of a menu, or values of a box.
PendingActions = Int[np.ndarray, "n late"] | Float[np.ndarray, "n late d"]


class Episodes:
    """The rows of a batch: counts, endings, the newest observation, random generators.

    Args:
        num_envs: number of rows.
        backend: makes their frames.
        space: of what the backend hands out of one row.
    """

    def __init__(self, num_envs: int, backend: Backend, space: spaces.Box[Any]) -> None:
        device = backend.device
        observed = np.zeros((num_envs, *space.shape), space.dtype)
        scores = torch.zeros(num_envs, len(backend.spec.score_names), dtype=torch.float32)
        pending = no_pending_actions(backend.spec.actions, num_envs, backend.latency_frames)
        self._idle = backend.spec.actions.idle
        self.observed: Shaped[Tensor, "n ..."] = torch.from_numpy(observed).to(device)
        self.scores: Float[Tensor, "n m"] = scores.to(device)
        self.states: States | None = None  # the readout of `observed`, where it is known
        self.pending: PendingActions = pending
        self.steps = np.zeros(num_envs, dtype=np.int64)
        self.done = np.zeros(num_envs, dtype=bool)
        self.fault = np.zeros(num_envs, dtype=bool)
        self.self_consistency_error = np.zeros(num_envs)
        self.prompts = np.array([""] * num_envs, dtype=object)
        self.rngs = [np.random.default_rng() for _ in range(num_envs)]

    def seed(self, row: int, seed: int | None) -> None:
        """Give a row a new generator; None leaves it the one that it has."""
        if seed is not None:
            self.rngs[row] = np.random.default_rng(seed)

    def start(self, rows: Int[np.ndarray, " r"], reading: Reading, prompt: str) -> None:
        """Start the episodes of some rows."""
        observed = reading.observed
        scores = reading.scores
        index = torch.from_numpy(rows).to(observed.device)
        self.observed = self.observed.index_copy(0, index, observed)
        self.scores = self.scores.index_copy(0, index, scores.float())
        self.states = None  # rows are read together: a few rows' numbers may differ in a last bit
        self.steps[rows] = 0
        self.done[rows] = False
        self.pending[rows] = self._idle
        self.prompts[rows] = prompt
        self.self_consistency_error[rows] = 0

    def advance(self, reading: Reading, prompts: list[str], actions: np.ndarray | None) -> None:
        """Take note of a step of all rows; `actions` is None when prompts are free text."""
        self.observed = reading.observed
        self.scores = reading.scores
        self.states = reading.states
        self.prompts = np.array(prompts, dtype=object)
        self.steps += 1
        has_pending = self.pending.shape[1] > 0
        if actions is not None and has_pending:
            self.pending = shifted(self.pending, actions)

    def to_state(self, owner: EnvIdentity, backend: Any) -> EnvState:
        """Return the state now, no copy, with the backend's part."""
        return EnvState(
            owner=owner,
            backend=backend,
            steps=self.steps,
            done=self.done,
            fault=self.fault,
            pending=self.pending,
            observed=self.observed,
            scores=self.scores,
            prompts=self.prompts.tolist(),
            rngs=[rng.bit_generator.state for rng in self.rngs],
        )

    def load(self, state: EnvState) -> None:
        """Go back to a checked state."""
        self.steps = state.steps
        self.done = state.done
        self.fault = state.fault
        self.pending = state.pending
        self.observed = state.observed
        self.scores = state.scores
        self.states = None
        self.prompts = np.array(state.prompts, dtype=object)
        for rng, generator in zip(self.rngs, state.rngs, strict=True):
            rng.bit_generator.state = generator


def no_pending_actions(
    language: ActionLanguage, num_envs: int, latency_frames: int
) -> PendingActions:
    """Return idle actions in flight."""
    dtype = np.float32 if isinstance(language, SpokenBox) else np.int64
    shape = (num_envs, latency_frames, *language.shape)
    return np.broadcast_to(language.idle, shape).astype(dtype)


def shifted(pending: PendingActions, actions: np.ndarray) -> PendingActions:
    """Return pending actions after a step: the oldest has become visible, the newest is last."""
    remaining = pending[:, 1:]
    newest = actions[:, None]
    return np.concatenate([remaining, newest], axis=1, dtype=pending.dtype)
