"""The command ``record``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import (
    Count,
    Seed,
    Shards,
    Workers,
    WorldName,
    cpu_count,
)


@dataclass(frozen=True, kw_only=True)
class Record(Command):
    """Record a data set with a world's simulator; run again to resume."""

    world: WorldName
    """name of the world, e.g. PushT"""
    out: Path | None = None
    """folder of the data set; default: recorded/WORLD"""
    shards: Shards = 64
    """shards in all, those already there counted in"""
    episodes: Count = 32
    """episodes per shard"""
    steps: Count = 96
    """steps per episode"""
    seed: Seed = 0
    """the data depend on the seed and nothing else"""
    workers: Workers = field(default_factory=cpu_count)
    """processes"""

    def run(self) -> None:
        """Record a data set."""
        from streamdit_gym.data.recorder import RecordConfig, record
        from streamdit_gym.registry import world_definition

        definition = world_definition(self.world)
        config = RecordConfig(
            shards=self.shards,
            episodes=self.episodes,
            steps=self.steps,
            seed=self.seed,
            workers=self.workers,
            hard_start=definition.hard_start,
            num_hard_starts=round(definition.hard_start_share * self.episodes),
        )
        record(definition, self.out or Path("recorded") / definition.name, config)
