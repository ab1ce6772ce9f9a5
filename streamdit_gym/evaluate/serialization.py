"""Dataclasses of numbers as JSON, and back."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any

import numpy as np

# pictures, and what a number was computed from
NOT_IN_FILES = {"film_strip", "film_strips", "samples", "statistic"}


def to_plain(value: Any) -> Any:
    """Return a value as JSON can hold it.

    Dataclasses become objects, NaN becomes null, pictures are left out.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if field.name not in NOT_IN_FILES
        }
        return to_plain(fields)
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def from_plain(kind: Any, value: Any) -> Any:
    """Return a value of a type from what JSON holds.

    Args:
        kind: a dataclass, a container with its item types, a union with None, or a plain type.
        value: what `to_plain` returned for such a value.
    """
    if kind is float:
        return math.nan if value is None else float(value)
    if value is None:
        return None
    if dataclasses.is_dataclass(kind):
        return _dataclass_from_plain(kind, value)
    origin = typing.get_origin(kind)
    item_kinds = typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return from_plain(item_kinds[0], value)
    if origin is dict:
        return {key: from_plain(item_kinds[1], item) for key, item in value.items()}
    if origin is tuple:
        return tuple(from_plain(item_kinds[0], item) for item in value)
    return value


def _dataclass_from_plain(kind: Any, value: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {
        field.name: from_plain(hints[field.name], value[field.name])
        for field in dataclasses.fields(kind)
        if field.name in value
    }
    return kind(**fields)
