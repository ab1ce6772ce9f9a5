"""Height and width, or rows and columns, in ``config.json``: one number where both are equal."""

from __future__ import annotations

from functools import partial
from typing import Any

from streamdit_gym.bundle.field_checks import each
from streamdit_gym.checks import check_int
from streamdit_gym.definition import loaded_size


def check_pair(name: str, value: Any, *, least: int, most: int) -> tuple[int, int]:
    """Return two whole numbers of a range, of one number or a list of two."""
    check = partial(check_int, least=least, most=most)
    if not isinstance(value, (list, tuple)):
        return loaded_size(check(name, value))
    height, width = each(check, least=2, most=2)(name, value)
    return height, width
