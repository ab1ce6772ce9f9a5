"""Saving a MuJoCo environment and going back to it, bit for bit.

A saved state is made of numbers, texts, lists and dictionaries alone, so that it can be read from a
file without running anything. It holds MuJoCo's integration state (positions, speeds, time, the
solver's warm start), all arrays that were computed from it, since some rewards and all pictures use
those of the last step, where the model's sites are, since some environments move them to show a
goal, and what the environment holds beside: plain values, such as a target, and the state of its
random numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float

from streamdit_gym.checks import shown
from streamdit_gym.errors import ArgumentError

Env = gymnasium.Env[Any, Any]

PLAIN_TYPES = (bool, int, float, str, bytes, type(None))
MAX_DEPTH = 4  # of lists and dictionaries in each other
ARRAY_KEY = "__array__"  # marks an array in a saved state; its value is the type


def save_mujoco(env: Env) -> dict[str, Any]:
    """Return what `restore_mujoco` needs to come back to this very state."""
    unwrapped: Any = env.unwrapped
    arrays = {name: array.tolist() for name, array in _arrays(unwrapped.data).items()}
    return {
        "state": _integration_state(unwrapped).tolist(),
        "arrays": arrays,
        "sites": unwrapped.model.site_pos.tolist(),
        "attributes": [_plain_attributes(layer) for layer in _layers(env)],
        "random": copy.deepcopy(unwrapped.np_random.bit_generator.state),
    }


def restore_mujoco(env: Env, saved: dict[str, Any]) -> None:
    """Go back to a saved state.

    Raises:
        ArgumentError: if it is another environment's.
    """
    import mujoco

    unwrapped: Any = env.unwrapped
    model, data = unwrapped.model, unwrapped.data
    state = np.array(saved["state"], dtype=np.float64)
    layers = list(_layers(env))
    if state.shape != _integration_state(unwrapped).shape or len(layers) != len(
        saved["attributes"]
    ):
        raise refused(saved)
    sites = np.array(saved["sites"], dtype=np.float64)
    model.site_pos[...] = sites.reshape(model.site_pos.shape)
    mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(model, data)  # as many contacts as there were
    for name, array in _arrays(data).items():
        array[...] = np.array(saved["arrays"][name], dtype=array.dtype).reshape(array.shape)
    for layer, attributes in zip(layers, saved["attributes"], strict=True):
        _set_attributes(layer, attributes)
    unwrapped.np_random.bit_generator.state = copy.deepcopy(saved["random"])


def refused(saved: Any) -> ArgumentError:
    """Return the error that something is no saved state of an environment."""
    return ArgumentError(
        "the simulator cannot go back to this state",
        given=shown(saved),
        allowed="a state of the same environment",
        remedy="restore what save() returned",
    )


def _integration_state(unwrapped: Any) -> Float[np.ndarray, " n"]:
    import mujoco

    signature = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(unwrapped.model, signature))
    mujoco.mj_getState(unwrapped.model, unwrapped.data, state, signature)
    return state


def _arrays(data: Any) -> dict[str, np.ndarray]:
    """Return MuJoCo's arrays of fixed size; those of contacts are as long as there are contacts."""
    arrays = {}
    for name in dir(data):
        if name.startswith(("_", "efc_", "contact", "iefc_", "island_", "dof_island", "tree_")):
            continue
        value = getattr(data, name)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.flags.writeable:
            arrays[name] = value
    return arrays


def _layers(env: Env) -> Iterator[Any]:
    """Yield an environment's wrappers from the outermost inwards, and the environment itself."""
    layer: Any = env
    while layer is not None:
        yield layer
        layer = getattr(layer, "env", None)


def _plain_attributes(layer: Any) -> dict[str, Any]:
    attributes = {}
    for name, value in vars(layer).items():
        if _is_plain(value, MAX_DEPTH):
            attributes[name] = _encoded(value)
    return attributes


def _set_attributes(layer: Any, attributes: dict[str, Any]) -> None:
    known = _plain_attributes(layer)
    for name in known.keys() & attributes.keys():
        value = _decoded(attributes[name])
        current = getattr(layer, name)
        is_array = isinstance(current, np.ndarray) and isinstance(value, np.ndarray)
        if is_array and current.shape == value.shape and current.flags.writeable:
            current[...] = value  # others may hold this very array
        else:
            setattr(layer, name, value)


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, (np.ndarray, np.generic)):
        return bool(value.dtype.kind in "biuf")
    if type(value) in (list, tuple):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    if type(value) is dict:
        return depth > 0 and all(
            isinstance(key, str) and _is_plain(item, depth - 1) for key, item in value.items()
        )
    return isinstance(value, PLAIN_TYPES)


def _encoded(value: Any) -> Any:
    """Return a plain value without NumPy's types."""
    if isinstance(value, (np.ndarray, np.generic)):
        return {ARRAY_KEY: value.dtype.str, "shape": list(value.shape), "values": value.tolist()}
    if isinstance(value, dict):
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_encoded(item) for item in value)
    return value


def _decoded(value: Any) -> Any:
    """Return the plain value that `_encoded` has turned into this one."""
    if isinstance(value, dict) and ARRAY_KEY in value:
        array = np.array(value["values"], dtype=value[ARRAY_KEY]).reshape(value["shape"])
        return array if value["shape"] else array[()]
    if isinstance(value, dict):
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_decoded(item) for item in value)
    return value
