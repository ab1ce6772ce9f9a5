"""What viewers may send.

Takes: a message.  Gives: a checked command, or an error that says what is allowed.  Knows nothing of: streams, networks.
"""

from __future__ import annotations

import json
from typing import Any

from streamdit_gym.checks import MAX_PROMPT_CHARS, check_bool, check_int, check_real, check_str, shown
from streamdit_gym.errors import ArgumentError, StreamDiTError, UnknownNameError
from streamdit_gym.live.channel import FASTEST, Command, Viewer

LONGEST_MESSAGE = 2048  # bytes
# command -> field -> (type, least, most, must be there); of text, least and most are lengths
COMMANDS: dict[str, dict[str, tuple[type, float, float, bool]]] = {
    "say": {"text": (str, 1, 5 * MAX_PROMPT_CHARS, True), "id": (int, 0, 2**53, False)},
    "set": {
        "chunks": (int, 1, 8, False), "micro_steps": (int, 1, 8, False), "scope": (str, 1, 16, False),
        "transition": (int, 0, 32, False), "fps": (float, 1, FASTEST, False),
    },
    "pause": {"on": (bool, 0, 1, True)},
    "step": {},
    "save": {},
    "restore": {"name": (str, 1, 100, True)},
    "rewind": {"seconds": (float, 0, 3600, True)},
    "begin": {"seed": (int, 0, 2**31, False)},
    "record": {"on": (bool, 0, 1, True)},
    "branch": {},
}  # fmt: skip


def read_command(message: str | bytes, viewer: Viewer) -> Command:
    """Return a command.

    Args:
        message: a JSON object: ``{"do": "say", "text": "move left"}``.
        viewer: who sent it.

    Raises:
        StreamDiTError: if it is too long, no command, or a field is missing, unknown or out of range.
    """
    length = len(message.encode("utf-8", "replace") if isinstance(message, str) else message)
    if length > LONGEST_MESSAGE:
        raise StreamDiTError("too long a message", given=f"{length} bytes", allowed=LONGEST_MESSAGE, remedy="say it briefly")
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("do"), str):
        raise StreamDiTError("no command", given=shown(message[:60]), allowed='{"do": "say", "text": "move left"}', remedy="send JSON")
    do = found.pop("do")
    if do not in COMMANDS:
        raise UnknownNameError("command", do[:60], COMMANDS)
    fields = COMMANDS[do]
    for name, value in found.items():
        if name not in fields:
            raise UnknownNameError(f"field of {do!r}", name[:60], fields)
        found[name] = _checked(do, name, value)
    missing = [name for name, (_, _, _, needed) in fields.items() if needed and name not in found]
    if missing:
        raise StreamDiTError(
            f"a field of {do!r} is missing", given=", ".join(found) or "none", allowed=", ".join(fields), remedy=missing[0]
        )
    return Command(do=do, given=found, viewer=viewer)


def _checked(do: str, name: str, value: Any) -> Any:
    kind, least, most, _ = COMMANDS[do][name]
    field = f"{name} of {do!r}"
    if kind is bool:
        return check_bool(field, value)
    if kind is int:
        return check_int(field, value, least=int(least), most=int(most))
    if kind is float:
        return check_real(field, value, least=least, most=most)
    text = check_str(field, value)
    if not least <= len(text) <= most:
        raise ArgumentError(
            f"{field} cannot be used",
            given=f"{len(text)} characters",
            allowed=f"{least:g} to {most:g} characters",
            remedy="say it briefly",
        )
    return text
