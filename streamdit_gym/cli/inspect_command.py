"""The command ``inspect``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.command_outputs import save_picture


@dataclass(frozen=True, kw_only=True)
class Inspect(Command):
    """Report on a data set, recorded or generated: numbers, damage, duplicates, a contact sheet."""

    folder: Annotated[Path, tyro.conf.Positional]
    """the data set"""

    def run(self) -> None:
        """Print what is in a data set, and save its contact sheet."""
        from streamdit_gym.generate.dataset_report import inspect_dataset

        report = inspect_dataset(self.folder)
        print("\n".join(report.lines()))
        if report.sheet is not None:
            path = self.folder / "contact.png"
            save_picture(path, report.sheet)
            print(f"the contact sheet is {path}")
