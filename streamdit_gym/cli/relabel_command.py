"""The command ``relabel``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import DeviceName, Shards, WorldName, cpu_count
from streamdit_gym.cli.settings_option import Settings, check_setting_names, parse_settings
from streamdit_gym.cli.training_options import choose_device

SETTINGS = (
    "episodes",
    "steps",
    "seed",
    "workers",
    "generated_frames",
    "shard_frames",
    "actor_removed_share",
)


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
    set: Settings = ()
    """episodes=32 (streams, and so episodes per shard), steps=96 (per episode, as in the recorded
    data that they are mixed with), seed=0, workers (processes of the simulator; default: all cores)
    """
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""

    def run(self) -> None:
        """Record a relabelled data set."""
        from streamdit_gym.generate.dagger import RelabelConfig, relabel_world

        settings = {"workers": cpu_count(), **parse_settings(self.set)}
        check_setting_names(settings, SETTINGS)
        config = RelabelConfig(shards=self.shards, **settings)
        relabel_world(self.world, self.out, config, choose_device(self.device))
