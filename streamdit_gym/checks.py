"""Checks for whatever comes from outside: arguments, options, messages, files.

A check takes a name and a value, and returns the value in its plain Python type. It refuses the
wrong type (also where Python would convert it silently: True is no number, "3" is no number, 3.0 is
no whole number), values that are not finite, and values out of range.
"""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np

from streamdit_gym.errors import ArgumentError, UnknownNameError

MAX_PROMPT_CHARS = 200
# with accents and parts of syllables counted apart, as the encoder may: it takes 512 tokens
MAX_PROMPT_PARTS = 510
MAX_LONG_PROMPT_CHARS = 1000  # of open video models, whose encoders count the tokens themselves
SHA256 = re.compile("[0-9a-f]{64}")
MAX_SHOWN = 80  # characters of a value that an error shows


def shown(value: object) -> str:
    """Return a short printable form of any value for an error's text."""
    try:
        text = ascii(value)
    except Exception:  # a value's own repr may fail
        text = f"<{type(value).__name__}>"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def check_int(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> int:
    """Return a whole number of a range, both ends included.

    Raises:
        ArgumentError: if it is no whole number (bool and float are none), or out of range.
    """
    allowed = f"a whole number {_range(least, most)}".strip()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise _refused(name, value, allowed)
    number = int(value)
    if (least is not None and number < least) or (most is not None and number > most):
        raise _refused(name, value, allowed)
    return number


def check_real(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
) -> float:
    """Return a finite number of a range.

    Args:
        name: what the error calls the value.
        value: the value.
        least: smallest allowed value.
        most: largest allowed value.
        above: the value must be larger than this.

    Raises:
        ArgumentError: if it is no number, not finite, or out of range.
    """
    bound = f"above {above}" if above is not None else ""
    allowed = " ".join(part for part in ("a finite number", bound, _range(least, most)) if part)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise _refused(name, value, allowed)
    try:
        number = float(value)
    except OverflowError as error:
        raise _refused(name, value, allowed) from error
    is_too_small = (least is not None and number < least) or (above is not None and number <= above)
    is_too_large = most is not None and number > most
    if not math.isfinite(number) or is_too_small or is_too_large:
        raise _refused(name, value, allowed)
    return number


def check_bool(name: str, value: Any) -> bool:
    """Return True or False.

    Raises:
        ArgumentError: for anything else, such as the text "False".
    """
    if not isinstance(value, (bool, np.bool_)):
        raise _refused(name, value, "True or False")
    return bool(value)


def check_str(name: str, value: Any) -> str:
    """Return a text that can be encoded.

    Raises:
        ArgumentError: if it is no text, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise _refused(name, value, "a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _refused(name, value, "a text without lone surrogates") from error
    return str(value)


def check_choice(name: str, value: Any, allowed: Collection[str]) -> str:
    """Return one of several names.

    Raises:
        ArgumentError: if it is no text.
        UnknownNameError: if it is none of the names; the error gives the nearest.
    """
    text = check_str(name, value)
    if text not in allowed:
        raise UnknownNameError(name, text, allowed)
    return text


def check_sha256(name: str, value: Any) -> str:
    """Return a SHA-256 as hexadecimal digits, in lower case.

    Raises:
        ArgumentError: if it is none.
    """
    text = check_str(name, value).lower()
    if not SHA256.fullmatch(text):
        raise _refused(name, value, "64 hexadecimal digits")
    return text


def check_prompt(text: Any, most: int = MAX_PROMPT_CHARS) -> str:
    """Return a prompt with single spaces.

    Environments, files and the live page all take the same prompts.

    Args:
        text: the prompt.
        most: characters that it may have.

    Raises:
        ArgumentError: if it is no text, empty, longer than `most` characters, or than
            `MAX_PROMPT_PARTS` accents and letters for `MAX_PROMPT_CHARS`, or has characters that
            cannot be printed.
    """
    prompt = " ".join(check_str("prompt", text).split())
    has_length = 1 <= len(prompt) <= most
    most_parts = MAX_PROMPT_PARTS * most // MAX_PROMPT_CHARS
    if not has_length or not prompt.isprintable() or _num_parts(prompt) > most_parts:
        raise ArgumentError(
            "this is no prompt",
            given=f"{len(prompt)} characters: {shown(prompt)}",
            allowed=f"1 to {most} printable characters, {most_parts} with accents counted apart",
            remedy="say in a few words what should happen",
        )
    return prompt


def _num_parts(text: str) -> int:
    """Return the number of letters and accents, counted apart."""
    return len(unicodedata.normalize("NFD", text.lower()))


def check_fields(
    config: Any,
    *,
    ints: Mapping[str, tuple[int, int]] | None = None,
    reals: Mapping[str, tuple[float, float]] | None = None,
    bools: Collection[str] = (),
) -> None:
    """Check the numbers of a frozen dataclass, and turn them into plain Python types.

    Args:
        config: the dataclass; a field may be None where that is its default.
        ints: whole numbers, each with the ends of its range.
        reals: finite numbers, likewise.
        bools: fields that are True or False.

    Raises:
        ArgumentError: if a field has the wrong type, is not finite, or is out of range.
    """
    checks: dict[str, Callable[[str, Any], Any]] = {}
    for name, (least, most) in (ints or {}).items():
        checks[name] = partial(check_int, least=least, most=most)
    for name, (low, high) in (reals or {}).items():
        checks[name] = partial(check_real, least=low, most=high)
    for name in bools:
        checks[name] = check_bool
    optional = {field.name for field in dataclasses.fields(config) if field.default is None}
    for name, check in checks.items():
        value = getattr(config, name)
        if value is not None or name not in optional:
            object.__setattr__(config, name, check(name, value))


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"from {least} to {most}"
    if least is not None:
        return f">= {least}"
    return f"<= {most}" if most is not None else ""


def _refused(name: str, value: Any, allowed: str) -> ArgumentError:
    given = f"{type(value).__name__} {shown(value)}"
    return ArgumentError(
        f"{name} cannot be used", given=given, allowed=allowed, remedy=f"change {name}"
    )
