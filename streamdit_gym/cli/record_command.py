"""The command ``record``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import Count, Seed, Shards, Workers, WorldName, cpu_count
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.world_argument import definition_of

RECORDING_SETTINGS = {"episodes": Count, "steps": Count, "seed": Seed, "workers": Workers}


@dataclass(frozen=True, kw_only=True)
class Record(Command):
    """Record a data set with a world's simulator; run again to resume."""

    setting_types: ClassVar[Mapping[str, Any]] = RECORDING_SETTINGS

    world: WorldName
    """name, e.g. PushT; a Python file that registers a world; or a bundle's folder"""
    out: Path | None = None
    """folder of the data set; default: recorded/NAME"""
    shards: Shards = 64
    """shards in all, those already there counted in"""
    set: Settings = ()
    """episodes=32: per shard
    steps=96: per episode
    seed=0: the data depend on it and nothing else
    workers: processes; default: all cores
    """

    def run(self) -> None:
        """Record a data set."""
        from streamdit_gym.data.recorder import RecordConfig, record
        from streamdit_gym.world_folders import recorded_folder

        definition = definition_of(self.world)
        settings = {"workers": cpu_count(), **self.settings()}
        config = RecordConfig(shards=self.shards, hard_start=definition.hard_start, **settings)
        num_hard_starts = round(definition.hard_start_share * config.episodes)
        config = replace(config, num_hard_starts=num_hard_starts)
        record(definition, self.out or recorded_folder(definition.name), config)
