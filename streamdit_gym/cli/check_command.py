"""The command ``check``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.command_outputs import save_picture
from streamdit_gym.cli.option_types import WorldName, cpu_count
from streamdit_gym.cli.record_command import Record
from streamdit_gym.cli.world_argument import definition_of

if TYPE_CHECKING:
    from streamdit_gym.bench.simulator_report import SimulatorReport
    from streamdit_gym.definition import WorldDefinition

STARTS_PER_ROW = 4


@dataclass(frozen=True, kw_only=True)
class Check(Command):
    """Look at a world of your own before anything long: mistakes, motion, start frames, times."""

    world: WorldName
    """name, or a Python file that registers a world"""

    def run(self) -> None:
        """Print the report, and save the picture."""
        from streamdit_gym.bench.simulator_report import report_simulator
        from streamdit_gym.data.film_strips import rows_of_frames
        from streamdit_gym.world_folders import run_folder

        definition = definition_of(self.world)
        report = report_simulator(definition)
        print("\n".join(report.lines()))
        print("\n".join(_times(definition, report)))
        rows = report.starts.reshape(-1, STARTS_PER_ROW, *definition.frame_shape)
        path = run_folder(definition.name) / "starts.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(path, rows_of_frames(rows))
        print(f"start frames are in {path}")


def recording_minutes(report: SimulatorReport, shards: int) -> float:
    """Return about how long `record` takes on this machine, with its default settings."""
    from streamdit_gym.data.recorder import RecordConfig

    config = RecordConfig(shards=shards)
    steps = config.shards * config.episodes * config.steps
    return steps * report.seconds_per_step / cpu_count() / 60


def _times(definition: WorldDefinition, report: SimulatorReport) -> list[str]:
    from streamdit_gym.bench.training_speed import estimate_training
    from streamdit_gym.cli.train_command import default_recipe

    shards = Record(world=definition.name).shards
    training = estimate_training(default_recipe(definition), definition.frame_size)
    return [
        f"record: {shards} shards in about {recording_minutes(report, shards):.0f} minutes",
        f"train: the recipe {definition.recipe} in about {training.minutes:.0f} minutes, of which"
        f" {training.autoencoder / 60:.0f} for the autoencoder; on this machine's CPU as it is now",
    ]
