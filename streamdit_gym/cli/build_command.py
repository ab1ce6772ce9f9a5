"""The command ``build``."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from streamdit_gym.cli.check_command import recording_minutes
from streamdit_gym.cli.command import Command
from streamdit_gym.cli.command_outputs import write_json
from streamdit_gym.cli.evaluate_command import Evaluate
from streamdit_gym.cli.option_types import Range, WorldName
from streamdit_gym.cli.record_command import Record
from streamdit_gym.cli.train_command import Train, default_recipe
from streamdit_gym.cli.world_argument import definition_of
from streamdit_gym.errors import StreamDiTError

if TYPE_CHECKING:
    from streamdit_gym.definition import WorldDefinition
    from streamdit_gym.recipes import Recipe

# Shares of the minutes. What a stage leaves goes to the transformer.
RECORD_SHARE = 0.08
AUTOENCODER_SHARE = 0.35  # of the training, at most
EVALUATE_SHARE = 0.2
MIN_TRAIN_SHARE = 0.3  # even where recording took longer than its share
MIN_EVALUATE_SHARE = 0.1  # even where training took longer than its share
MIN_SHARDS, MAX_SHARDS = 4, 64
PLAN = "build.json"


@dataclass(frozen=True, kw_only=True)
class Build(Command):
    """Record, train and evaluate a world in the given minutes; run again to go on."""

    world: WorldName
    """name, or a Python file that registers a world"""
    minutes: Annotated[float, Range(0.1, 1e6)] = 60.0
    """of this call, about, shared out over what is still to be done"""

    def run(self) -> None:
        """Run the stages that are still to be done."""
        from streamdit_gym.world_folders import BUNDLE, recorded_folder, run_folder

        start = time.monotonic()
        definition = definition_of(self.world)
        folder = run_folder(definition.name)
        shards = self._planned_shards(definition, folder / PLAN)
        print(f"1/3 record: {shards} shards in {recorded_folder(definition.name)}")
        Record(world=self.world, shards=shards).run()
        bundle = folder / BUNDLE
        if not bundle.is_dir():
            spent_minutes = (time.monotonic() - start) / 60
            self._train(definition, self._recipe(definition), spent_minutes)
        if not bundle.is_dir():
            raise StreamDiTError(
                "the time was up before there was a world",
                given=f"{self.minutes:g} minutes",
                allowed="enough for autoencoder, encoding and readouts: see `streamdit-gym check`",
                remedy="run the same command again: it goes on",
            )
        self._evaluate(bundle, folder / "evaluation", (time.monotonic() - start) / 60)

    def _recipe(self, definition: WorldDefinition) -> Recipe:
        """Return the recipe, with an autoencoder and learning rates that end with the minutes."""
        recipe = default_recipe(definition)
        share = min(recipe.autoencoder.max_minutes_share, AUTOENCODER_SHARE)
        return replace(
            recipe,
            autoencoder=replace(recipe.autoencoder, max_minutes_share=share),
            dynamics=replace(recipe.dynamics, end_with_minutes=True),
        )

    def _planned_shards(self, definition: WorldDefinition, path: Path) -> int:
        """Return how many shards fit into the time; a build that goes on keeps the number."""
        from streamdit_gym.bench.simulator_report import report_simulator

        if path.is_file():
            return int(json.loads(path.read_text())["shards"])
        report = report_simulator(definition)
        print("\n".join(report.lines()))
        fitting = int(RECORD_SHARE * self.minutes / recording_minutes(report, 1))
        shards = min(MAX_SHARDS, max(MIN_SHARDS, fitting))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"shards": shards})
        return shards

    def _train(self, definition: WorldDefinition, recipe: Recipe, spent_minutes: float) -> None:
        left = self.minutes * (1 - EVALUATE_SHARE) - spent_minutes
        minutes = max(left, self.minutes * MIN_TRAIN_SHARE)
        print(f"2/3 train: {minutes:.1f} minutes")
        train = Train(world=self.world, minutes=minutes, resume=True)
        train.train(definition, recipe)

    def _evaluate(self, bundle: Path, out: Path, spent_minutes: float) -> None:
        """Measure as much as fits into the rest of the minutes."""
        minutes = max(self.minutes - spent_minutes, self.minutes * MIN_EVALUATE_SHARE)
        print(f"3/3 evaluate: the world in {bundle}, {minutes:.1f} minutes")
        Evaluate(world=str(bundle), out=out, set=(f"minutes={minutes:.3f}",)).run()
