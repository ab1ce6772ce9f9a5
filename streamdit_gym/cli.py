"""The command line.

Takes: arguments.  Gives: a command, run, and its exit status.  Knows nothing of: what the commands are.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import tyro

from streamdit_gym import commands
from streamdit_gym.arguments import Command, Demo, Distill, Train
from streamdit_gym.errors import exit_status


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status: 0 done, 2 a clear error, 130 stopped by Ctrl-C."""
    kinds: dict[str, Any] = {kind.__name__.lower(): kind for kind in Command.__args__}
    command: Any = tyro.extras.subcommand_cli_from_dict(kinds, prog="streamdit-gym", args=arguments)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    program = "streamdit-gym" if processes == 1 else f"torchrun --nproc-per-node {processes} -m streamdit_gym"
    again = f"{program} " + " ".join(sys.argv[1:] if arguments is None else arguments)
    if isinstance(command, (Train, Distill)) and not command.resume:
        again += " --resume"
    elif isinstance(command, Demo):
        again += " --steps 0"  # play what is learned
    return exit_status(lambda: getattr(commands, f"run_{type(command).__name__.lower()}")(command), again)


if __name__ == "__main__":
    sys.exit(main())
