"""The command ``reproduce``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from streamdit_gym.cli.command import Command
from streamdit_gym.errors import StreamDiTError


@dataclass(frozen=True, kw_only=True)
class Reproduce(Command):
    """Measure tables of README and documentation again, and print them beside the published ones.

    Without a table's name it lists them.
    """

    tables: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """names of tables, or all"""
    quick: bool = False
    """measure less, where a table has a quicker command: all of them take half an hour on 2 cores
    """
    out: Path = Path("runs/reproduce")
    """folder; every table has its own in it"""

    def run(self) -> None:
        """Run the tables' commands and print the comparisons."""
        from streamdit_gym.reproduce.tables import load_tables, table_named

        if not self.tables:
            for table in load_tables().values():
                print(f"{table.name:<12} {table.about} ({', '.join(table.pages)})")
            return
        from streamdit_gym.bench.hardware import hardware_name
        from streamdit_gym.device import default_device
        from streamdit_gym.reproduce.reproduction import command_of, report_lines, run_table

        names = list(load_tables()) if self.tables == ("all",) else self.tables
        tables = [table_named(name) for name in names]  # all, before anything long
        hardware = hardware_name(default_device())
        errors: list[StreamDiTError] = []
        for table in tables:
            out = self.out / table.name
            print(f"streamdit-gym {command_of(table, out, self.quick)}", flush=True)
            try:
                comparisons = run_table(table, out, self.quick)
            except StreamDiTError as error:  # the others are run all the same
                errors.append(error)
                continue
            print("\n" + "\n".join(report_lines(table, comparisons, hardware)) + "\n", flush=True)
        if errors:
            raise errors[0]
