"""What viewers may send.

Takes: a message.  Gives: a checked command, or an error that says what is allowed.  Knows nothing
    of: streams, networks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from streamdit_gym.checks import (
    check_bool,
    check_choice,
    check_int,
    check_prompt,
    check_real,
    check_str,
    shown,
)
from streamdit_gym.errors import ArgumentError, StreamDiTError, UnknownNameError
from streamdit_gym.live.channel import FASTEST, Command, Viewer
from streamdit_gym.live.stream import LONGEST_TRANSITION

MAX_MESSAGE_BYTES = 4096  # room for the longest prompt, with every character escaped
MAX_NAME_CHARS = 100
EXAMPLE = '{"do": "say", "text": "move left"}'


def _check_prompt(_name: str, value: Any) -> str:
    return check_prompt(value)


def _check_name(name: str, value: Any) -> str:
    text = check_str(name, value)
    if not 0 < len(text) <= MAX_NAME_CHARS:
        raise ArgumentError(
            f"{name} cannot be used",
            given=f"{len(text)} characters",
            allowed=f"1 to {MAX_NAME_CHARS}",
            remedy="a name from the list of saved states",
        )
    return text


Check = Callable[[str, Any], Any]
# command -> field -> its check
FIELDS: dict[str, dict[str, Check]] = {
    "say": {"text": _check_prompt, "id": partial(check_int, least=0, most=2**53)},
    "set": {
        "chunks": partial(check_int, least=1, most=8),
        "micro_steps": partial(check_int, least=1, most=8),
        "scope": partial(check_choice, allowed=("chunk", "buffer")),
        "transition": partial(check_int, least=0, most=LONGEST_TRANSITION),
        "fps": partial(check_real, least=1, most=FASTEST),
    },
    "pause": {"on": check_bool},
    "step": {},
    "save": {},
    "restore": {"name": _check_name},
    "rewind": {"seconds": partial(check_real, least=0, most=3600)},
    "begin": {"seed": partial(check_int, least=0, most=2**31)},
    "record": {"on": check_bool},
    "branch": {},
}
REQUIRED = {
    "say": ("text",),
    "pause": ("on",),
    "restore": ("name",),
    "rewind": ("seconds",),
    "record": ("on",),
}


def read_command(message: str | bytes, viewer: Viewer) -> Command:
    """Return a command.

    Args:
        message: the text of a JSON object: ``{"do": "say", "text": "move left"}``.
        viewer: who sent it.

    Raises:
        StreamDiTError: if it is too long, no command, or a field is missing, unknown or out of
            range.
    """
    fields = _read_object(message)
    do = fields.pop("do")
    if do not in FIELDS:
        raise UnknownNameError("command", _printable(do), FIELDS)
    given = {}
    for name, value in fields.items():
        if name not in FIELDS[do]:
            raise UnknownNameError(
                f"field of {do!r}", _printable(name), FIELDS[do], remedy=f"{do!r} alone"
            )
        given[name] = FIELDS[do][name](name, value)
    for name in REQUIRED.get(do, ()):
        if name not in given:
            raise ArgumentError(
                f"a field of {do!r} is missing",
                given=", ".join(given) or "none",
                allowed=", ".join(FIELDS[do]),
                remedy=f"add {name}",
            )
    return Command(do=do, given=given, viewer=viewer)


def _read_object(message: str | bytes) -> dict[str, Any]:
    """Return the JSON object of a message; its "do" is a text."""
    if not isinstance(message, str):
        raise _no_command(f"{len(message)} bytes, binary")
    length = len(message.encode("utf-8", "surrogatepass"))
    if length > MAX_MESSAGE_BYTES:
        raise StreamDiTError(
            "too long a message",
            given=f"{length} bytes",
            allowed=MAX_MESSAGE_BYTES,
            remedy="say it briefly",
        )
    try:
        found = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise _no_command(shown(message)) from error
    if not isinstance(found, dict) or not isinstance(found.get("do"), str):
        raise _no_command(shown(message))
    return found


def _no_command(given: str) -> StreamDiTError:
    return StreamDiTError("no command", given=given, allowed=EXAMPLE, remedy="send JSON as text")


def _printable(name: str) -> str:
    return shown(name[:60])[1:-1]
