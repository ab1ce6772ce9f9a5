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
    """Look at a data set, recorded or generated: numbers, what is broken or there twice,
    and a contact sheet.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """the data set"""
    sheet: Path | None = None
    """write the contact sheet here; default: contact.png in the folder"""

    def run(self) -> None:
        """Say what is in a data set."""
        from streamdit_gym.generate.inspect import inspect

        found = inspect(self.folder)
        print("\n".join(found.lines()))
        if found.sheet is not None:
            path = self.sheet or self.folder / "contact.png"
            save_picture(path, found.sheet)
            print(f"the contact sheet is {path}")
