"""Types of command-line options; a number's range stands in its type.

`Range` is metadata: ``steps: Annotated[int, Range(1, 100)]``. The frame of the command line reads
it with `option_range` and refuses what lies outside.
"""

from __future__ import annotations

import os
import typing
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from streamdit_gym.checks import check_int, check_real, check_str, shown
from streamdit_gym.errors import ArgumentError


@dataclass(frozen=True)
class Range:
    """The smallest and the largest allowed value of a number, both included."""

    least: float
    most: float


MAX_COUNT = 10**9

WorldName = Annotated[str, tyro.conf.Positional]
Count = Annotated[int, Range(1, MAX_COUNT)]
Several = Annotated[int, Range(2, MAX_COUNT)]
CountOrZero = Annotated[int, Range(0, MAX_COUNT)]
Minutes = Annotated[float, Range(0.0, 1e6)]
Seed = Annotated[int, Range(0, 2**63 - 1)]
Shards = Annotated[int, Range(1, 100_000)]
Workers = Annotated[int, Range(1, 1024)]
DeviceName = str  # see choose_device


def cpu_count() -> int:
    """Return the number of processor cores, as a default number of worker processes."""
    return os.cpu_count() or 1


def option_range(hint: Any) -> Range | None:
    """Return the range inside an option's type, such as ``Count | None`` or ``tuple[Count, ...]``.

    Args:
        hint: the annotation, as `typing.get_type_hints(..., include_extras=True)` returns it.
    """
    for metadata in getattr(hint, "__metadata__", ()):
        if isinstance(metadata, Range):
            return metadata
    for part in typing.get_args(hint):
        part_range = option_range(part)
        if part_range is not None:
            return part_range
    return None


def check_number(name: str, value: Any, allowed: Range) -> float:
    """Return a number of a range; a whole one where the range's ends are whole.

    Raises:
        ArgumentError: if it is none, or out of range.
    """
    if isinstance(allowed.least, int):
        return check_int(name, value, least=allowed.least, most=int(allowed.most))
    return check_real(name, value, least=allowed.least, most=allowed.most)


def check_text(name: str, value: str) -> str:
    """Return a text that a file or a world can be called.

    Raises:
        ArgumentError: if it cannot be encoded, or holds NUL.
    """
    text = check_str(name, value)
    if "\0" in text:
        raise ArgumentError(
            f"{name} cannot be used",
            given=shown(text),
            allowed="a text without NUL",
            remedy=f"change {name}",
        )
    return text
