"""The command ``demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import CountOrZero
from streamdit_gym.cli.world_argument import bundle_of


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Train PPO in a generated world for a few minutes, and film it there and in the simulator."""

    resume_options: ClassVar[str] = "--steps 0"  # use what is learned

    out: Path = Path("runs/demo")
    """folder of the film, the curve and the table"""
    steps: CountOrZero = 16_000
    """environment steps of training; 0 takes the agent already in the folder"""
    world: str = "PushT"
    """name, folder or Hub id; or a Python file that registers the world"""

    def run(self) -> None:
        """Run the demo."""
        from streamdit_gym.agents.demo import demo

        demo(self.out, steps=self.steps, world=bundle_of(self.world))
