"""Random edits of saved states: what a careless or hostile hand may do to one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

WRONG = (
    None,
    "",
    "x",
    -1,
    10**40,
    1.5,
    float("nan"),
    [],
    {},
    (),
    b"bytes",
    "\ud800",
    True,
    [[]],
    {1: 2},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to everything in a nested state."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """Return what lies at a path."""
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a state with something else at a path."""
    if not path:
        return new
    if isinstance(value, dict):
        return {
            key: put(inner, path[1:], new) if key == path[0] else inner
            for key, inner in value.items()
        }
    items = [
        put(inner, path[1:], new) if index == path[0] else inner
        for index, inner in enumerate(value)
    ]
    return type(value)(items)


def without(value: Any, path: tuple[Any, ...]) -> Any:
    """Return a state that lacks what lies at a path."""
    parent = at(value, path[:-1])
    if isinstance(parent, dict):
        rest: Any = {key: inner for key, inner in parent.items() if key != path[-1]}
    else:
        rest = type(parent)(inner for index, inner in enumerate(parent) if index != path[-1])
    return put(value, path[:-1], rest)


def edited_tensor(tensor: torch.Tensor, rng: np.random.Generator) -> Any:
    """Return a tensor of another dtype, shape or content, or none at all."""
    number = float(rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e30, -7.0, 2.0**62]))
    spoiled = tensor.clone(memory_format=torch.contiguous_format)
    if spoiled.numel():
        place = int(rng.integers(spoiled.numel()))
        whole = int(rng.integers(0, 2) if tensor.dtype == torch.bool else rng.integers(-9, 256))
        whole = abs(whole) if tensor.dtype == torch.uint8 else whole
        spoiled.view(-1)[place] = number if spoiled.is_floating_point() else whole
    kinds = [
        tensor.double() if tensor.dtype != torch.float64 else tensor.float(),
        tensor.half(),
        tensor.numpy(),
        tensor.tolist(),
        tensor[:-1],
        tensor[..., :0],
        tensor[None],
        torch.cat([tensor, tensor]),
        tensor.to("meta"),
        tensor.float().to_sparse(),
        spoiled,
        spoiled,
        spoiled,
    ]
    return kinds[int(rng.integers(len(kinds)))]


def edited(state: Any, other: Any, rng: np.random.Generator) -> Any:
    """Return a state with one to three random edits.

    Args:
        state: the state; it is not changed.
        other: another environment's state, from which parts may come.
        rng: draws the edits.
    """
    state = copy.deepcopy(state)
    for _ in range(int(rng.integers(1, 4))):
        paths = list(places(state))
        if not paths:
            return state
        path = paths[int(rng.integers(len(paths)))]
        kind = int(rng.integers(6))
        value = at(state, path)
        if kind == 0:
            state = without(state, path)
        elif kind == 1:
            state = put(state, path, WRONG[int(rng.integers(len(WRONG)))])
        elif kind == 2 and isinstance(value, dict):
            state = put(state, path, {**value, "extra": 1})
        elif kind == 3:
            try:
                state = put(state, path, at(other, path))
            except (KeyError, IndexError, TypeError):
                state = other
        elif isinstance(value, torch.Tensor):
            state = put(state, path, edited_tensor(value, rng))
        elif isinstance(value, (list, tuple)) and value:
            state = put(state, path, type(value)([*value, value[0]]))
        elif isinstance(value, (int, float)):
            factors = (-1, 2, 1e6, -1e300, 10**30)
            state = put(state, path, value * factors[int(rng.integers(len(factors)))])
    return state


def same(one: Any, two: Any) -> bool:
    """Return whether two states are equal to the bit, a NaN being equal to itself."""
    if isinstance(one, torch.Tensor):
        alike = isinstance(two, torch.Tensor) and one.dtype == two.dtype and one.shape == two.shape
        return alike and bool(torch.isclose(one, two, rtol=0, atol=0, equal_nan=True).all())
    if isinstance(one, dict):
        return (
            isinstance(two, dict)
            and set(one) == set(two)
            and all(same(one[key], two[key]) for key in one)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return bool(one == two)
