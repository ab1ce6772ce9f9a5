"""The saved state of a batch of environments: what it holds, whose it is, and what is checked
before it is taken.

Takes: what somebody hands over as a saved state.  Gives: a checked EnvState, or a clear error.
Knows nothing of: how frames are made.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.checks import check_int, check_prompt, shown
from streamdit_gym.errors import ArgumentError, ShapeError
from streamdit_gym.stream.saved import REMEDY, check_keys, check_list, check_tensor

FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class StateOwner:
    """Which environments a state belongs to.

    Attributes:
        world: digest of the world's bundle, wherever it lies; of a reference simulator its name and
            version.
        partition: how the buffer is cut; ``real`` for a reference simulator.
        observation: what agents observe.
        num_envs: number of environments.
        deterministic: whether they are evaluated row by row.
    """

    world: str
    partition: str
    observation: str
    num_envs: int
    deterministic: bool


@dataclass(frozen=True, kw_only=True)
class StateLimits:
    """What numbers of a state may be.

    Attributes:
        horizon: steps until truncation.
        actions: number of menu actions.
        may_be_over: whether rows may be at their end, waiting for a reset.
    """

    horizon: int
    actions: int
    may_be_over: bool


@dataclass(kw_only=True)
class EnvState:
    """Everything that the next frames of some environments depend on.

    Attributes:
        owner: which environments it belongs to.
        backend: the streams or simulators, as their backend saves them.
        steps: taken in the episode.
        done: whether the episode is over.
        fault: whether the row's numbers are not finite.
        pending: menu actions begun and not yet visible.
        seen: what is observed.
        scores: the newest frame's.
        prompts: with which the last step was taken.
        rngs: generators that draw starts and noise.
    """

    owner: StateOwner
    backend: Any
    steps: Int[np.ndarray, " n"]
    done: Bool[np.ndarray, " n"]
    fault: Bool[np.ndarray, " n"]
    pending: Int[np.ndarray, "n late"]
    seen: Tensor
    scores: Float[Tensor, "n m"]
    prompts: list[str]
    rngs: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return a copy made of tensors and plain numbers and texts,
        which `torch.load` reads as safely as weights.
        """
        return {
            "format": FORMAT,
            **dataclasses.asdict(self.owner),
            "backend": self.backend,
            "steps": torch.tensor(self.steps),
            "done": torch.tensor(self.done),
            "fault": torch.tensor(self.fault),
            "pending": torch.tensor(self.pending),
            "seen": self.seen.clone(),
            "scores": self.scores.clone(),
            "prompts": list(self.prompts),
            "rngs": list(self.rngs),
        }

    @classmethod
    def from_dict(cls, state: Any, like: EnvState, limits: StateLimits) -> EnvState:
        """Return a state that fits, but for its backend's part, which the backend checks.

        Args:
            state: what `to_dict` returned.
            like: the environments' own state now.
            limits: what its numbers may be.

        Raises:
            ShapeError: if the state is of other environments, or entries are missing or do not fit.
            ArgumentError: if a value is not finite, or out of range.
        """
        check_keys("state", state, ENTRIES)
        _check_owner(state, like.owner)
        count = like.owner.num_envs
        most = {"steps": limits.horizon, "pending": limits.actions - 1}
        arrays = {}
        for name in ("steps", "done", "fault", "pending"):
            own = torch.from_numpy(getattr(like, name))
            tensor = check_tensor(name, state[name], own, least=0, most=most.get(name))
            arrays[name] = tensor.cpu().numpy().copy()
        over = arrays["done"]
        _check_ends(arrays["steps"], over, limits)
        device = like.seen.device
        seen = check_tensor("seen", state["seen"], like.seen).to(device, copy=True)
        scores = check_tensor("scores", state["scores"], like.scores).to(device, copy=True)
        return cls(
            owner=like.owner,
            backend=state["backend"],
            **arrays,
            seen=seen,
            scores=scores,
            prompts=[check_prompt(text) for text in check_list("prompts", state["prompts"], count)],
            rngs=[checked_generator(rng) for rng in check_list("rngs", state["rngs"], count)],
        )


OWNER = tuple(field.name for field in dataclasses.fields(StateOwner))
CONTENT = tuple(field.name for field in dataclasses.fields(EnvState) if field.name != "owner")
ENTRIES = ("format", *OWNER, *CONTENT)


def checked_generator(state: Any) -> dict[str, Any]:
    """Return the state of one of NumPy's default generators.

    Raises:
        ShapeError: if it has other entries.
        ArgumentError: if a number is out of range.
    """
    check_keys("a generator", state, ("bit_generator", "state", "has_uint32", "uinteger"))
    if state["bit_generator"] != "PCG64":
        raise ArgumentError(
            "a generator of another kind",
            given=shown(state["bit_generator"]),
            allowed="PCG64",
            remedy=REMEDY,
        )
    inner = check_keys("a generator's state", state["state"], ("state", "inc"))
    name = "a generator's number"
    return {
        "bit_generator": "PCG64",
        "state": {key: check_int(name, inner[key], least=0, most=2**128 - 1) for key in inner},
        "has_uint32": check_int(name, state["has_uint32"], least=0, most=1),
        "uinteger": check_int(name, state["uinteger"], least=0, most=2**32 - 1),
    }


def _check_owner(state: dict[str, Any], owner: StateOwner) -> None:
    """Refuse the state of other environments, and name what differs."""
    expected = {"format": FORMAT, **dataclasses.asdict(owner)}
    differing = [
        name
        for name, value in expected.items()
        if type(state[name]) is not type(value) or state[name] != value
    ]
    if differing:
        raise ShapeError(
            "a state of other environments",
            given=", ".join(f"{name}={shown(state[name])}" for name in differing),
            allowed=", ".join(f"{name}={shown(expected[name])}" for name in differing),
            remedy="the same world, partition, observation, num_envs and deterministic",
        )


def _check_ends(
    steps: Int[np.ndarray, " n"],
    over: Bool[np.ndarray, " n"],
    limits: StateLimits,
) -> None:
    """Refuse rows that such environments would have ended, or begun anew."""
    late = ~over & (steps >= limits.horizon)
    if late.any():
        raise ArgumentError(
            "steps of a saved state are out of range",
            given=f"{steps[late].tolist()} in rows that go on",
            allowed=f"below the horizon of {limits.horizon}",
            remedy="give these environments the horizon of those that were saved",
        )
    if over.any() and not limits.may_be_over:
        raise ArgumentError(
            "a saved state has rows that are over",
            given=f"rows {np.flatnonzero(over).tolist()}",
            allowed="rows that go on: SAME_STEP begins ended rows at once",
            remedy="autoreset_mode='DISABLED' or 'NEXT_STEP', as where it was saved",
        )
