"""The frame of the command line: it reads the arguments, runs one command, and returns its status.

Every command is a file of its own, ``NAME_command.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import tyro

from streamdit_gym.cli.bench_command import Bench
from streamdit_gym.cli.build_command import Build
from streamdit_gym.cli.check_command import Check
from streamdit_gym.cli.command import Command
from streamdit_gym.cli.demo_command import Demo
from streamdit_gym.cli.deprecated import current_arguments
from streamdit_gym.cli.distill_command import Distill
from streamdit_gym.cli.distill_decoder_command import DistillDecoder
from streamdit_gym.cli.doctor_command import Doctor
from streamdit_gym.cli.evaluate_command import Evaluate
from streamdit_gym.cli.export_command import Export
from streamdit_gym.cli.finetune_command import Finetune
from streamdit_gym.cli.generate_command import Generate
from streamdit_gym.cli.import_command import Import
from streamdit_gym.cli.inspect_command import Inspect
from streamdit_gym.cli.new_world_command import NewWorld
from streamdit_gym.cli.plan_command import Plan
from streamdit_gym.cli.play_command import Play
from streamdit_gym.cli.record_command import Record
from streamdit_gym.cli.relabel_command import Relabel
from streamdit_gym.cli.reproduce_command import Reproduce
from streamdit_gym.cli.rl_command import rl
from streamdit_gym.cli.train_command import Train
from streamdit_gym.errors import exit_status

COMMANDS: dict[str, Callable[..., Command]] = {
    "new-world": NewWorld,
    "check": Check,
    "build": Build,
    "record": Record,
    "import": Import,
    "relabel": Relabel,
    "train": Train,
    "finetune": Finetune,
    "distill": Distill,
    "distill-decoder": DistillDecoder,
    "evaluate": Evaluate,
    "generate": Generate,
    "inspect": Inspect,
    "plan": Plan,
    "play": Play,
    "export": Export,
    "bench": Bench,
    "demo": Demo,
    "rl": rl,
    "reproduce": Reproduce,
    "doctor": Doctor,
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status: 0 done, 2 a clear error, 130 stopped by Ctrl-C."""
    words = sys.argv[1:] if arguments is None else arguments
    current: list[str] = []
    status = exit_status(lambda: current.extend(current_arguments(words)), "")
    if status:
        return status
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="streamdit-gym", args=current)

    def run() -> None:
        command.check_options()
        command.run()

    return exit_status(run, _resume_line(command, current))


def _resume_line(command: Command, arguments: list[str]) -> str:
    """Return the command line that goes on after Ctrl-C."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    program = "streamdit-gym"
    if processes > 1:
        program = f"torchrun --nproc-per-node {processes} -m streamdit_gym"
    words = [program, *arguments]
    if command.resume_options and command.resume_options not in arguments:
        words.append(command.resume_options)
    return " ".join(words)
