"""The command ``new-world``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from streamdit_gym.cli.command import Command


@dataclass(frozen=True, kw_only=True)
class NewWorld(Command):
    """Write a short Python file that makes a world of any Gymnasium environment."""

    file: Annotated[Path, tyro.conf.Positional]
    """the file, e.g. my_world.py; the world has its name"""
    env: str
    """the environment, e.g. Reacher-v5, or module:Id-v0 for one that a module registers"""

    def run(self) -> None:
        """Write the file, run it once, and say what comes next."""
        from streamdit_gym.envs.definition_file import definition_text
        from streamdit_gym.errors import ArgumentError, StreamDiTError
        from streamdit_gym.files import write_text, writing_to
        from streamdit_gym.registry import FILE_SUFFIX, load_definition

        if self.file.suffix != FILE_SUFFIX:
            raise ArgumentError(
                "a world is defined in a Python file",
                given=self.file,
                allowed=f"a name that ends with {FILE_SUFFIX}",
                remedy=f"streamdit-gym new-world my_world.py --env {self.env}",
            )
        if self.file.exists():
            raise ArgumentError(
                "the file is there already",
                given=self.file,
                allowed="a new file: it may have been edited",
                remedy="choose another name, or remove it",
            )
        text = definition_text(self.env, self.file.stem)
        with writing_to(self.file, "choose another folder"):
            write_text(self.file, text)
        try:
            definition = load_definition(self.file)
        except StreamDiTError:
            self.file.unlink()
            raise
        print(f"{self.file} makes the world {definition.name}; look at its actions, then")
        print(f"  streamdit-gym record {self.file}")
