"""Commands to a stream, and the queue in which they wait for the next step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from streamdit_gym.live.viewer_messages import Viewer

MAX_PENDING_STEPS = 8  # steps that wait while the stream is paused
RUN_ONCE = ("save", "branch")  # repeating them at the same moment changes nothing


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a viewer asks for.

    Attributes:
        name: of the command, one of `command_parser.FIELDS`.
        arguments: checked values by name.
        viewer: who asks; None: this process itself.
        received_at: when it arrived, in seconds of the monotonic clock.
    """

    name: str
    arguments: dict[str, Any]
    viewer: Viewer | None = None
    received_at: float = field(default_factory=time.monotonic)


class CommandQueue:
    """Holds at most one command of each kind for each viewer. The caller does the locking."""

    def __init__(self) -> None:
        self._commands: list[Command] = []

    def __len__(self) -> int:
        return len(self._commands)

    def add(self, command: Command) -> None:
        """Add a command; it replaces or extends the viewer's waiting command of the same kind."""
        waiting = self._find(command)
        if waiting is not None and command.name in RUN_ONCE:
            return
        if waiting is not None:
            self._commands.remove(waiting)
            command = replace(command, arguments=_merge(waiting, command))
        self._commands.append(command)

    def take_all(self) -> list[Command]:
        """Return all commands and empty the queue."""
        commands = self._commands
        self._commands = []
        return commands

    def drop_steps(self, viewer: Viewer) -> None:
        """Remove the steps that a viewer has asked for."""
        self._commands = [
            command
            for command in self._commands
            if command.name != "step" or command.viewer is not viewer
        ]

    def _find(self, like: Command) -> Command | None:
        for command in self._commands:
            if command.name == like.name and command.viewer is like.viewer:
                return command
        return None


def _merge(older: Command, newer: Command) -> dict[str, Any]:
    """Return the arguments of one command that does what two of the same kind ask for."""
    before = older.arguments
    after = newer.arguments
    if newer.name == "configure":
        return {**before, **after}
    if newer.name == "rewind":
        return {"seconds": before["seconds"] + after["seconds"]}
    if newer.name == "step":
        count = before.get("count", 1) + after.get("count", 1)
        return {"count": min(MAX_PENDING_STEPS, count)}
    return after
