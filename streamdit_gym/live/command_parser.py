"""Reading and checking what viewers send."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from streamdit_gym.checks import (
    MAX_LONG_PROMPT_CHARS,
    check_bool,
    check_choice,
    check_int,
    check_prompt,
    check_real,
    check_str,
    shown,
)
from streamdit_gym.errors import ArgumentError, StreamDiTError, UnknownNameError
from streamdit_gym.live.command_queue import Command
from streamdit_gym.live.frame_pacer import MAX_FPS
from streamdit_gym.live.live_stream import MAX_TRANSITION, PROMPT_SCOPES
from streamdit_gym.live.viewer_messages import Viewer
from streamdit_gym.world_folders import shipped_worlds

MAX_MESSAGE_BYTES = 16_384  # enough for the longest prompt, with every character escaped
MAX_NAME_CHARS = 100
MAX_ID = 2**53  # JavaScript counts no farther
EXAMPLE = '{"command": "prompt", "text": "move left"}'


def _check_prompt(_name: str, value: Any) -> str:
    return check_prompt(value, MAX_LONG_PROMPT_CHARS)  # the stream knows whether it is too long


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


def _check_world(name: str, value: Any) -> str:
    return check_choice(name, value, shipped_worlds())


Check = Callable[[str, Any], Any]
# command -> field -> its check
FIELDS: dict[str, dict[str, Check]] = {
    "prompt": {"text": _check_prompt, "id": partial(check_int, least=0, most=MAX_ID)},
    "configure": {
        "chunks": partial(check_int, least=1, most=8),
        "micro_steps": partial(check_int, least=1, most=8),
        "prompt_scope": partial(check_choice, allowed=PROMPT_SCOPES),
        "transition": partial(check_int, least=0, most=MAX_TRANSITION),
        "fps": partial(check_real, least=1, most=MAX_FPS),
    },
    "pause": {"on": check_bool},
    "step": {},
    "save": {},
    "restore": {"name": _check_name},
    "rewind": {"seconds": partial(check_real, least=0, most=3600)},
    "reset": {"seed": partial(check_int, least=0, most=2**31)},
    "record": {"on": check_bool},
    "branch": {},
    "open": {"world": _check_world},
}
REQUIRED = {
    "prompt": ("text",),
    "pause": ("on",),
    "restore": ("name",),
    "rewind": ("seconds",),
    "record": ("on",),
    "open": ("world",),
}


def parse_command(message: str | bytes, viewer: Viewer) -> Command:
    """Return a viewer's command.

    Args:
        message: the text of a JSON object: ``{"command": "prompt", "text": "move left"}``.
        viewer: who sent it.

    Raises:
        StreamDiTError: if it is too long, no command, or a field is missing, unknown or out of
            range.
    """
    fields = _parse_object(message)
    name = fields.pop("command")
    if name not in FIELDS:
        raise UnknownNameError("command", _printable(name), FIELDS)
    arguments = {field: _check_field(name, field, value) for field, value in fields.items()}
    for field in REQUIRED.get(name, ()):
        if field not in arguments:
            raise ArgumentError(
                f"a field of {name!r} is missing",
                given=", ".join(arguments) or "none",
                allowed=", ".join(FIELDS[name]),
                remedy=f"add {field}",
            )
    return Command(name=name, arguments=arguments, viewer=viewer)


def _check_field(command: str, field: str, value: Any) -> Any:
    checks = FIELDS[command]
    if field not in checks:
        raise UnknownNameError(
            f"field of {command!r}", _printable(field), checks, remedy=f"{command!r} alone"
        )
    return checks[field](field, value)


def _parse_object(message: str | bytes) -> dict[str, Any]:
    """Return the JSON object of a message; its "command" is a text."""
    if not isinstance(message, str):
        raise _not_a_command(f"{len(message)} bytes, binary")
    length = len(message.encode("utf-8", "surrogatepass"))
    if length > MAX_MESSAGE_BYTES:
        raise StreamDiTError(
            "the message is too long",
            given=f"{length} bytes",
            allowed=MAX_MESSAGE_BYTES,
            remedy="send less at once",
        )
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise _not_a_command(shown(message)) from error
    if not isinstance(fields, dict) or not isinstance(fields.get("command"), str):
        raise _not_a_command(shown(message))
    return fields


def _not_a_command(given: str) -> StreamDiTError:
    return StreamDiTError("no command", given=given, allowed=EXAMPLE, remedy="send JSON as text")


def _printable(name: str) -> str:
    return shown(name[:60])[1:-1]
