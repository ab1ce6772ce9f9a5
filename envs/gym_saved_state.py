"""Saving a MuJoCo environment and going back to it, bit for bit.

MuJoCo's own data hold where everything is, its speeds, the solver's warm start, and what was
computed from these, which some rewards and all pictures use. Beside them an environment holds
plain values of its own, such as a target, and its random numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from streamdit_gym.checks import shown
from streamdit_gym.errors import ArgumentError

Env = gymnasium.Env[Any, Any]

PLAIN_TYPES = (bool, int, float, complex, str, bytes, np.generic, type(None))
MAX_DEPTH = 4  # of lists and dictionaries in each other


@dataclass(frozen=True, kw_only=True)
class MujocoState:
    """A saved environment.

    Attributes:
        data: MuJoCo's.
        attributes: plain values that each layer, from the outermost wrapper inwards, holds.
        random_state: state of the environment's random numbers.
    """

    data: Any
    attributes: list[dict[str, Any]]
    random_state: dict[str, Any]


def save_mujoco(env: Env) -> MujocoState:
    """Return what `restore_mujoco` needs to come back to this very state."""
    unwrapped: Any = env.unwrapped
    return MujocoState(
        data=copy.copy(unwrapped.data),
        attributes=[_plain_attributes(layer) for layer in _layers(env)],
        random_state=copy.deepcopy(unwrapped.np_random.bit_generator.state),
    )


def restore_mujoco(env: Env, saved: MujocoState) -> None:
    """Go back to a saved state.

    Raises:
        ArgumentError: if it is another environment's; nothing is changed then.
    """
    import mujoco

    unwrapped: Any = env.unwrapped
    layers = list(_layers(env))
    is_own = isinstance(saved.data, mujoco.MjData) and len(layers) == len(saved.attributes)
    if not is_own or saved.data.qpos.shape != unwrapped.data.qpos.shape:
        raise refused(saved)
    mujoco.mj_copyData(unwrapped.data, unwrapped.model, saved.data)
    for layer, attributes in zip(layers, saved.attributes, strict=True):
        _set_attributes(layer, attributes)
    unwrapped.np_random.bit_generator.state = copy.deepcopy(saved.random_state)


def refused(saved: Any) -> ArgumentError:
    """Return the error that something is no saved state of an environment."""
    return ArgumentError(
        "the simulator cannot go back to this state",
        given=shown(saved),
        allowed="a state of the same environment",
        remedy="restore what save() returned",
    )


def _layers(env: Env) -> Iterator[Any]:
    """Yield an environment's wrappers from the outermost inwards, and the environment itself."""
    layer: Any = env
    while layer is not None:
        yield layer
        layer = getattr(layer, "env", None)


def _plain_attributes(layer: Any) -> dict[str, Any]:
    values = {}
    for name, value in vars(layer).items():
        if _is_plain(value, MAX_DEPTH):
            values[name] = copy.deepcopy(value)
    return values


def _set_attributes(layer: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        current: Any = getattr(layer, name, None)
        is_same_kind = isinstance(value, np.ndarray) and isinstance(current, np.ndarray)
        if is_same_kind and current.shape == value.shape and current.flags.writeable:
            current[...] = value  # others may hold this very array
        else:
            setattr(layer, name, copy.deepcopy(value))


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.dtype != object)
    if isinstance(value, (list, tuple)):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    if isinstance(value, dict):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value.values())
    return isinstance(value, PLAIN_TYPES)
