"""The command ``import``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import Range, WorldName
from streamdit_gym.cli.settings_option import Settings

Pixels = Annotated[int, Range(8, 4096)]
IMPORT_SETTINGS = {
    "frame_size": tuple[Pixels, ...],
    "fps": Annotated[float, Range(0.01, 1000.0)],
    "cameras": tuple[str, ...],
    "prompts": Literal["auto", "actions", "captions"],
    "steps": Annotated[int, Range(2, 100_000)],
}


@dataclass(frozen=True, kw_only=True)
class Import(Command):
    """Make a data set of recordings: LeRobot v3, Minari, or videos with captions."""

    setting_types: ClassVar[Mapping[str, Any]] = IMPORT_SETTINGS

    folder: Annotated[Path, tyro.conf.Positional]
    """the recordings; for videos with one .jsonl file beside them"""
    name: WorldName
    """name of the world that they become; the data set is recorded/NAME"""
    set: Settings = ()
    """frame_size=64,64: height and width
    fps: default: 10, or a little more where that divides the recordings' own
    cameras: one, or two that are put side by side; default: the first
    prompts=auto: actions, captions, or actions where there are any
    steps=96: of an episode; longer ones are cut
    """

    def run(self) -> None:
        """Import recordings."""
        from streamdit_gym.cli.recordings_argument import import_world
        from streamdit_gym.data.imports.recordings import ImportSettings

        import_world(self.folder, self.name, ImportSettings(**self.settings()))
        print(f"go on with: streamdit-gym train {self.name}")
