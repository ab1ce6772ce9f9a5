"""The saved state of a batch of environments, checked before the environments go back to it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.actions import ActionLanguage, SpokenBox
from streamdit_gym.checks import check_int, check_prompt, shown
from streamdit_gym.errors import ArgumentError, ShapeError
from streamdit_gym.stream.saved import REMEDY, check_keys, check_list, check_tensor

FORMAT = 3


@dataclass(frozen=True, kw_only=True)
class EnvIdentity:
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
        actions: those that there are.
        may_be_done: whether rows may be at their end, waiting for a reset.
    """

    horizon: int
    actions: ActionLanguage
    may_be_done: bool


@dataclass(kw_only=True)
class EnvState:
    """Everything that the next frames of some environments depend on.

    Attributes:
        owner: which environments it belongs to.
        backend: the streams or simulators, as their backend saves them.
        steps: taken in the episode.
        done: whether the episode is over.
        fault: whether the row's numbers are not finite.
        pending: actions in flight, not yet visible.
        observed: what the backend has handed out.
        scores: the newest frame's.
        prompts: with which the last step was taken.
        rngs: generators that draw starts and noise.
    """

    owner: EnvIdentity
    backend: Any
    steps: Int[np.ndarray, " n"]
    done: Bool[np.ndarray, " n"]
    fault: Bool[np.ndarray, " n"]
    pending: np.ndarray
    observed: Tensor
    scores: Float[Tensor, "n m"]
    prompts: list[str]
    rngs: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of tensors, plain numbers and texts, which `torch.load` reads safely."""
        return {
            "format": FORMAT,
            **dataclasses.asdict(self.owner),
            "backend": self.backend,
            "steps": torch.tensor(self.steps),
            "done": torch.tensor(self.done),
            "fault": torch.tensor(self.fault),
            "pending": torch.tensor(self.pending),
            "observed": self.observed.clone(),
            "scores": self.scores.clone(),
            "prompts": list(self.prompts),
            "rngs": list(self.rngs),
        }

    @classmethod
    def from_dict(cls, state: Any, template: EnvState, limits: StateLimits) -> EnvState:
        """Return a checked state; its backend's part is left to the backend to check.

        Args:
            state: what `to_dict` returned.
            template: the environments' own state now, whose shapes and types fit.
            limits: what its numbers may be.

        Raises:
            ShapeError: if the state is of other environments, or entries are missing or do not fit.
            ArgumentError: if a value is not finite, or out of range.
        """
        state = _upgraded(state)
        check_keys("state", state, ENTRIES)
        _check_owner(state, template.owner)
        steps = _checked_array("steps", state, template.steps, most=limits.horizon)
        done = _checked_array("done", state, template.done)
        check_ends(steps, done, limits.horizon, limits.may_be_done)
        num_envs = template.owner.num_envs
        prompts = check_list("prompts", state["prompts"], num_envs)
        rngs = check_list("rngs", state["rngs"], num_envs)
        return cls(
            owner=template.owner,
            backend=state["backend"],
            steps=steps,
            done=done,
            fault=_checked_array("fault", state, template.fault),
            pending=_checked_pending(state, template.pending, limits.actions),
            observed=_checked_copy("observed", state, template.observed),
            scores=_checked_copy("scores", state, template.scores),
            prompts=[check_prompt(text) for text in prompts],
            rngs=[checked_generator(rng) for rng in rngs],
        )


OWNER = tuple(field.name for field in dataclasses.fields(EnvIdentity))
ARRAYS = ("steps", "done", "fault", "pending")
ENTRIES = ("format", *OWNER, "backend", *ARRAYS, "observed", "scores", "prompts", "rngs")


def _upgraded(state: Any) -> Any:
    """Return a state of format 2, whose ``observed`` was called ``seen``, as one of today's."""
    if not isinstance(state, dict) or type(state.get("format")) is not int:
        return state
    if state["format"] != 2 or "seen" not in state:
        return state
    others = {name: value for name, value in state.items() if name != "seen"}
    return {**others, "format": FORMAT, "observed": state["seen"]}


def _checked_array(
    name: str, state: dict[str, Any], template: np.ndarray, most: int | None = None
) -> np.ndarray:
    """Return a copy of a saved tensor as an array of the same shape and type as another."""
    tensor = check_tensor(name, state[name], torch.from_numpy(template), least=0, most=most)
    return tensor.cpu().numpy().copy()


def _checked_pending(
    state: dict[str, Any], template: np.ndarray, actions: ActionLanguage
) -> np.ndarray:
    """Return saved actions in flight; values outside a box are moved to its border."""
    if isinstance(actions, SpokenBox):
        values = _checked_array("pending", state, template)
        return np.clip(values, actions.low, actions.high).astype(template.dtype)
    return _checked_array("pending", state, template, most=len(actions) - 1)


def _checked_copy(name: str, state: dict[str, Any], template: Tensor) -> Tensor:
    """Return a copy of a saved tensor, on the device of another of the same shape and type."""
    return check_tensor(name, state[name], template).to(template.device, copy=True)


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


def _check_owner(state: dict[str, Any], owner: EnvIdentity) -> None:
    """Refuse the state of other environments, and name what differs."""
    expected = {"format": FORMAT, **dataclasses.asdict(owner)}
    given = []
    allowed = []
    for name, value in expected.items():
        saved = state[name]
        if type(saved) is not type(value) or saved != value:
            given.append(f"{name}={shown(saved)}")
            allowed.append(f"{name}={shown(value)}")
    if given:
        raise ShapeError(
            "a state of other environments",
            given=", ".join(given),
            allowed=", ".join(allowed),
            remedy="the same world, partition, observation, num_envs and deterministic",
        )


def check_ends(
    steps: Int[np.ndarray, " n"],
    done: Bool[np.ndarray, " n"],
    horizon: int,
    may_be_done: bool,
) -> None:
    """Refuse rows that such environments would have ended, or started anew.

    Raises:
        ArgumentError: if there is such a row.
    """
    too_late = ~done & (steps >= horizon)
    if too_late.any():
        raise ArgumentError(
            "steps of a saved state are out of range",
            given=f"{steps[too_late].tolist()} in rows that go on",
            allowed=f"below the horizon of {horizon}",
            remedy="give these environments the horizon of those that were saved",
        )
    if done.any() and not may_be_done:
        raise ArgumentError(
            "a saved state has rows that are over",
            given=f"rows {np.flatnonzero(done).tolist()}",
            allowed="rows that go on: SAME_STEP begins ended rows at once",
            remedy="autoreset_mode='DISABLED' or 'NEXT_STEP', as where it was saved",
        )
