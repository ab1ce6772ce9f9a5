"""The command line.

Takes: arguments.  Gives: a command, run, and its exit status.  Knows nothing of: what the commands
    are.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import tyro

from streamdit_gym.checks import check_int, check_real, check_str, shown
from streamdit_gym.cli import commands
from streamdit_gym.cli.arguments import Command, Demo, Distill, Train
from streamdit_gym.errors import ArgumentError, exit_status

MAX_COUNT = 10**9
# the smallest value of every whole number on the command line, where it is not 1
LEAST = {
    "codec_steps": 0,
    "decoder_blocks": 0,
    "decoder_steps": 0,
    "drilled": 0,
    "head_steps": 0,
    "late": 0,
    "long": 0,
    "looks": 0,
    "looks_steps": 0,
    "port": 0,
    "seed": 0,
    "transition": 0,
    "demo.steps": 0,
}
# the largest, where it is not MAX_COUNT
MOST = {
    "envs": 65_536,
    "port": 65_535,
    "seed": 2**63 - 1,
    "shards": 100_000,
    "workers": 1024,
}
# finite numbers: the smallest and the largest value
RANGES = {
    "fps": (0.01, 1000.0),
    "guidance": (0.0, 100.0),
    "keep": (0.0, 1.0),
    "minutes": (0.0, 1e6),
    "rate": (0.0, 1000.0),
    "seconds": (0.01, 1e6),
    "strength": (0.0, 1.0),
    "temperature": (0.0, 100.0),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status: 0 done, 2 a clear error, 130 stopped by Ctrl-C."""
    kinds: dict[str, Any] = {kind.__name__.lower(): kind for kind in Command.__args__}
    command: Any = tyro.extras.subcommand_cli_from_dict(kinds, prog="streamdit-gym", args=arguments)
    name = type(command).__name__.lower()

    def run() -> None:
        check_command(name, command)
        getattr(commands, f"run_{name}")(command)

    return exit_status(run, _again(command, sys.argv[1:] if arguments is None else arguments))


def check_command(name: str, command: Any) -> None:
    """Refuse numbers out of range and texts that no file or world can be called.

    Args:
        name: the command's name, as in ``"record"``.
        command: a dataclass of `streamdit_gym.cli.arguments`.

    Raises:
        ArgumentError: for the first argument that cannot be used.
    """
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            _check_part(f"{name}.{field.name}", field.name, part)


def _check_part(full_name: str, name: str, value: Any) -> None:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int) and name not in RANGES:
        least = LEAST.get(full_name, LEAST.get(name, 1))
        check_int(flag, value, least=least, most=MOST.get(name, MAX_COUNT))
    elif isinstance(value, (int, float)):
        low, high = RANGES[name]
        check_real(flag, value, least=low, most=high)
    elif isinstance(value, (str, Path)):
        text = check_str(flag, str(value))
        if "\0" in text:
            raise ArgumentError(
                f"{flag} cannot be used",
                given=shown(text),
                allowed="a text without NUL",
                remedy=f"change {flag}",
            )


def _again(command: Any, arguments: list[str]) -> str:
    """Return the command line that goes on after Ctrl-C."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    program = "streamdit-gym"
    if processes > 1:
        program = f"torchrun --nproc-per-node {processes} -m streamdit_gym"
    again = f"{program} " + " ".join(arguments)
    if isinstance(command, (Train, Distill)) and not command.resume:
        again += " --resume"
    elif isinstance(command, Demo):
        again += " --steps 0"  # play what is learned
    return again
