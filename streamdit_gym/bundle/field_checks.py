"""The checks that fields of a bundle's ``config.json`` are made of.

Each takes a field's name and value, and returns the value in its plain type, or raises an error
that names the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from streamdit_gym.checks import check_prompt, check_str, shown
from streamdit_gym.errors import ArgumentError, BundleError

CONFIG = "config.json"
AGAIN = "get the bundle again"

Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Field:
    """A field of an object: its check, and whether it must be there.

    Fields that came later need not be there; their dataclass has the default.
    """

    check: Check
    required: bool = True


def refused(name: str, value: Any, allowed: str) -> ArgumentError:
    """Return the error of a field that cannot be used."""
    given = f"{type(value).__name__} {shown(value)}"
    return ArgumentError(
        f"{name} cannot be used",
        given=given,
        allowed=allowed,
        remedy=f"change {name}",
    )


def check_dictionary(name: str, value: Any) -> dict[str, Any]:
    """Return an object of JSON."""
    if not isinstance(value, dict):
        raise refused(name or CONFIG, value, "an object")
    return value


def check_object(name: str, value: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the checked fields of an object."""
    given = check_dictionary(name, value)
    where = f"{name}." if name else ""
    unknown = [f"{where}{shown(key)[1:-1]}" for key in given if key not in fields]
    if unknown:
        raise BundleError(
            f"{CONFIG} has a field that this package does not know",
            given=", ".join(unknown[:5]),
            allowed=", ".join(fields),
            remedy="upgrade streamdit_gym",
        )
    missing = [key for key, field in fields.items() if field.required and key not in given]
    if missing:
        lacking = ", ".join(f"{where}{key}" for key in missing)
        raise BundleError(f"{CONFIG} lacks a field", given=lacking, remedy=AGAIN)
    return {key: fields[key].check(f"{where}{key}", item) for key, item in given.items()}


def typed(kind: type, fields: Mapping[str, Field]) -> Check:
    """Check an object and build a dataclass from it."""
    return lambda name, value: kind(**check_object(name, value, fields))


def each(check: Check, *, least: int, most: int) -> Check:
    """Check a list, and each of its items."""

    def check_list(name: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise refused(name, value, f"a list of {least} to {most}")
        return tuple(check(f"{name}[{i}]", item) for i, item in enumerate(value))

    return check_list


def distinct(check: Check) -> Check:
    """Check a list, and that nothing is in it twice."""

    def check_list(name: str, value: Any) -> tuple[Any, ...]:
        items = check(name, value)
        if len(set(items)) < len(items):
            twice = next(item for i, item in enumerate(items) if item in items[:i])
            raise refused(name, twice, "each item once")
        return items

    return check_list


def mapping(check: Check, names: Check, most: int) -> Check:
    """Check an object with free names, and each of its items."""

    def check_items(name: str, value: Any) -> dict[str, Any]:
        items = check_dictionary(name, value)
        if len(items) > most:
            raise refused(name, value, f"an object of up to {most}")
        for key in items:
            names(f"a name in {name}", key)
        return {key: check(f"{name}.{key}", item) for key, item in items.items()}

    return check_items


def optional(check: Check) -> Check:
    """Check a value that may be null."""
    return lambda name, value: None if value is None else check(name, value)


def matches(pattern: str, allowed: str) -> Check:
    """Check that a text matches a pattern; `allowed` says in words what does."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise refused(name, value, allowed)
        return value

    return check


def prompt(name: str, value: Any) -> str:
    """Return a prompt as environments accept it."""
    try:
        check_prompt(value)
    except ArgumentError as error:
        raise refused(name, value, str(error.allowed)) from error
    return str(value)


def text(name: str, value: Any, most: int = 1000) -> str:
    """Return a text that was embedded or trained on, of any length that prompts ever had."""
    text = check_str(name, value)
    if not text.strip() or len(text) > most:
        raise refused(name, value, f"1 to {most} characters")
    return text


def label(name: str, value: Any, most: int = 64) -> str:
    """Return a text of one line."""
    text = check_str(name, value)
    if not text.strip() or len(text) > most or not text.isprintable():
        raise refused(name, value, f"1 to {most} printable characters")
    return text


def number_or_null(name: str, value: Any) -> None:
    """Refuse what is neither a number nor null."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not is_number:
        raise refused(name, value, "a number or null")
