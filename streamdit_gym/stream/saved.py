"""Checks of a saved state before anything is taken from it; nothing changes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from streamdit_gym.checks import shown
from streamdit_gym.errors import ArgumentError, ShapeError

REMEDY = "restore what save_state() of the same kind of environments returned"


def check_keys(name: str, state: Any, keys: Collection[str]) -> dict[str, Any]:
    """Return a dictionary that has exactly these keys.

    Raises:
        ArgumentError: if it is no dictionary.
        ShapeError: if it lacks some keys or has others.
    """
    if not isinstance(state, dict):
        raise ArgumentError(
            f"{name} is no saved state",
            given=f"{type(state).__name__} {shown(state)}",
            allowed="a dictionary",
            remedy=REMEDY,
        )
    missing = sorted(set(keys) - set(state))
    unknown = sorted(shown(key) for key in set(state) - set(keys))
    if missing or unknown:
        given = f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        raise ShapeError(
            f"{name} has other entries than a saved state",
            given=given,
            allowed=", ".join(sorted(keys)),
            remedy=REMEDY,
        )
    return state


def check_list(name: str, value: Any, length: int) -> list[Any]:
    """Return a list or tuple of a length, as a list.

    Raises:
        ShapeError: if it is something else.
    """
    if not isinstance(value, (list, tuple)) or len(value) != length:
        is_list = isinstance(value, (list, tuple))
        given = f"{len(value)} entries" if is_list else shown(value)
        raise ShapeError(
            f"{name} of a saved state cannot be used",
            given=given,
            allowed=f"a list of {length}",
            remedy=REMEDY,
        )
    return list(value)


def check_tensor(
    name: str,
    value: Any,
    like: Tensor,
    *,
    finite: Bool[np.ndarray, " n"] | None = None,
    may_be_nan: bool = False,
    least: int | None = None,
    most: int | None = None,
) -> Tensor:
    """Return a tensor of the same shape and dtype as another one.

    Args:
        name: its entry in the state.
        value: the value to check.
        like: a tensor that fits.
        finite: which rows must hold finite numbers only; None: all of them.
        may_be_nan: whether NaN has a meaning of its own.
        least: smallest whole number allowed.
        most: largest whole number allowed.

    Raises:
        ShapeError: if shape, dtype or layout differ.
        ArgumentError: if numbers are not finite, or out of range.
    """
    if not _fits(value, like):
        given = shown(value)
        if isinstance(value, Tensor):
            given = f"{value.dtype} {tuple(value.shape)}"
        raise ShapeError(
            f"{name} of a saved state does not fit",
            given=given,
            allowed=f"{like.dtype} {tuple(like.shape)}",
            remedy=REMEDY,
        )
    value = value.detach()
    if value.is_floating_point():
        numbers = value.masked_fill(value.isnan(), 0.0) if may_be_nan else value
        _check_finite(name, numbers, finite)
    elif value.numel():
        _check_range(name, value, least, most)
    return value


def _fits(value: Any, like: Tensor) -> bool:
    """Return whether a value is a tensor with numbers, of the same shape and dtype."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_meta:
        return False
    return value.dtype == like.dtype and value.shape == like.shape


def _check_range(name: str, value: Tensor, least: int | None, most: int | None) -> None:
    if least is None and most is None:
        return
    low = int(value.min())
    high = int(value.max())
    is_too_low = least is not None and low < least
    is_too_high = most is not None and high > most
    if is_too_low or is_too_high:
        raise ArgumentError(
            f"{name} of a saved state is out of range",
            given=f"{low} to {high}",
            allowed=f"{least} to {'any' if most is None else most}",
            remedy=REMEDY,
        )


def _check_finite(name: str, value: Tensor, rows: Bool[np.ndarray, " n"] | None) -> None:
    finite = value.flatten(1).isfinite().all(1).cpu().numpy()
    wrong = ~finite
    if rows is not None:
        wrong &= rows
    if wrong.any():
        raise ArgumentError(
            f"{name} of a saved state is not finite",
            given=f"rows {np.flatnonzero(wrong).tolist()}",
            allowed="finite numbers",
            remedy=REMEDY,
        )
