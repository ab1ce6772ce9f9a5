"""The command ``relabel``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import Count, DeviceName, Range, Shards, WorldName, cpu_count
from streamdit_gym.cli.record_command import RECORDING_SETTINGS
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.training_options import choose_device
from streamdit_gym.cli.world_argument import bundle_of


@dataclass(frozen=True, kw_only=True)
class Relabel(Command):
    """Relabel a world's own frames with what its simulator says must follow (DAgger).

    A recipe names the data as relabelled; run again to resume.
    """

    setting_types: ClassVar[Mapping[str, Any]] = {
        **RECORDING_SETTINGS,
        "generated_frames": Count,
        "shard_frames": Count,
        "actor_removed_share": Annotated[float, Range(0.0, 1.0)],
    }

    world: WorldName
    """the world that makes the mistakes: name, folder or Hub id; or a Python file that registers it
    """
    out: Path = Path("recorded/corrections")
    """folder of the data set"""
    shards: Shards = 40
    """shards in all, each of them further down the same streams"""
    set: Settings = ()
    """episodes=32: streams, and so episodes per shard
    steps=96: per episode, as in the recorded data that they are mixed with
    seed=0: of starts, noise, actions and the choice of frames
    workers: processes of the simulator; default: all cores
    generated_frames=8: frames of an episode that are the world's own
    shard_frames=64: frames of the streams from one shard to the next
    actor_removed_share=0.25: share of the streams that begin without the actor
    """
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""

    def run(self) -> None:
        """Record a relabelled data set."""
        from streamdit_gym.generate.dagger import RelabelConfig, relabel_world

        settings = {"workers": cpu_count(), **self.settings()}
        config = RelabelConfig(shards=self.shards, **settings)
        relabel_world(bundle_of(self.world), self.out, config, choose_device(self.device))
