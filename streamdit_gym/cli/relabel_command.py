"""The command ``relabel``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import (
    Count,
    DeviceName,
    Seed,
    Shards,
    Workers,
    WorldName,
    cpu_count,
)
from streamdit_gym.cli.training_options import choose_device


@dataclass(frozen=True, kw_only=True)
class Relabel(Command):
    """Relabel a world's own frames with what its simulator says must follow (DAgger).

    The data are for train --relabelled; run again to resume.
    """

    world: WorldName
    """the world that makes the mistakes: shipped name, folder or Hub id"""
    out: Path = Path("recorded/corrections")
    """folder of the data set"""
    shards: Shards = 40
    """shards in all, each of them further down the same streams"""
    episodes: Count = 32
    """streams, and so episodes per shard"""
    steps: Count = 96
    """steps per episode, as in the recorded data that they are mixed with"""
    seed: Seed = 0
    """of starts, noise and actions"""
    workers: Workers = field(default_factory=cpu_count)
    """processes of the simulator"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""

    def run(self) -> None:
        """Record a relabelled data set."""
        from streamdit_gym.generate.dagger import RelabelConfig, relabel_world

        config = RelabelConfig(
            shards=self.shards,
            episodes=self.episodes,
            steps=self.steps,
            seed=self.seed,
            workers=self.workers,
        )
        relabel_world(self.world, self.out, config, choose_device(self.device))
