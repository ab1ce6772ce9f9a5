"""The command ``train``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import Count, DeviceName, Minutes, WorldName
from streamdit_gym.cli.recordings_argument import imported_world, is_data_set
from streamdit_gym.cli.training_options import check_new_run, choose_device
from streamdit_gym.cli.world_argument import data_of, definition_of
from streamdit_gym.errors import ArgumentError

if TYPE_CHECKING:
    from streamdit_gym.definition import WorldDefinition
    from streamdit_gym.recipes import Recipe
    from streamdit_gym.recipes.stage_settings import Continuation
    from streamdit_gym.train.stage_context import TrainingInputs

FROM_NOTHING = "none"
FROM_NOTHING_RECIPE = "default"


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a world on a recorded data set, by a recipe; run again with --resume to go on."""

    resume_options: ClassVar[str] = "--resume"

    world: WorldName = ""
    """name, e.g. PushT; a Python file that registers a world; or a bundle's folder"""
    name: str | None = None
    """name of a new world, in place of WORLD, for which --data are recordings of any kind"""
    recipe: str | None = None
    """how everything learns: own_world, flow, default, gpu, tiny, crossroads, pusht,
    pusht-continuous, pusht-looks, or a Python file; default: what the definition says
    """
    data: Path | None = None
    """the data set, see record; default: recorded/NAME. With --name: a LeRobot or Minari data set,
    or a folder of videos, see import
    """
    init: str | None = None
    """world whose weights training starts from, e.g. PushT: name, folder or Hub id; none: from
    nothing; default: what the recipe says
    """
    out: Path | None = None
    """run folder (default: runs/NAME): config, curves, pictures, checkpoints,
    and at the end the bundle in world/
    """
    steps: Count | None = None
    """optimizer steps of the transformer; default: those of the recipe"""
    minutes: Minutes | None = None
    """stop this call after so many minutes; every stage resumes"""
    resume: bool = False
    """go on with what is in the run folder"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    compile: bool = False
    """compile the transformer"""

    def run(self) -> None:
        """Train a world."""
        definition = self._definition()
        self.train(definition, self._recipe(definition))

    def train(self, definition: WorldDefinition, recipe: Recipe) -> None:
        """Train a world by a recipe, or go on with it."""
        from streamdit_gym.train import parallel
        from streamdit_gym.train.pipeline import train_world
        from streamdit_gym.train.stage_context import RunOptions
        from streamdit_gym.world_folders import run_folder

        out = self.out or run_folder(definition.name)
        check_new_run(out, self.resume)
        inputs = self._inputs(definition, recipe)
        with parallel.join(choose_device(self.device)) as device:
            options = RunOptions(
                folder=out, device=device, minutes=self.minutes, compile=self.compile
            )
            world = train_world(inputs, recipe, options)
            if parallel.rank():
                return
        if world is None:
            print("the time is up; go on with --resume")
        else:
            print(f"the world is in {out / 'world'}")

    def _definition(self) -> WorldDefinition:
        """Return the world's definition; recordings are imported first."""
        if (self.name is None) == (not self.world):
            raise ArgumentError(
                "one world is trained",
                given=f"WORLD {self.world!r}, --name {self.name!r}",
                allowed="either WORLD, or --data FOLDER --name NAME for recordings",
                remedy="leave one of them out",
            )
        if self.name is None:
            return definition_of(self.world)
        return imported_world(self.data, self.name)

    def _data_folder(self) -> Path | None:
        """Return the data set; None where it has its usual place, as imported recordings have."""
        is_recordings = self.name is not None and not is_data_set(self.data)
        return None if is_recordings else self.data

    def _recipe(self, definition: WorldDefinition) -> Recipe:
        from streamdit_gym.recipes import recipe as find_recipe

        recipe = find_recipe(self.recipe) if self.recipe else default_recipe(definition)
        if self.init is not None:
            if not self.recipe and recipe.keeps_transformer:
                recipe = find_recipe(FROM_NOTHING_RECIPE)  # the other one can only continue
            recipe = replace(recipe, continue_from=_continuation(self.init))
        if self.steps is None:
            return recipe
        return replace(recipe, dynamics=replace(recipe.dynamics, steps=self.steps))

    def _inputs(self, definition: WorldDefinition, recipe: Recipe) -> TrainingInputs:
        from streamdit_gym.data.dataset import Dataset
        from streamdit_gym.text.prompt_encoder import MiniLMEncoder
        from streamdit_gym.train.stage_context import TrainingInputs
        from streamdit_gym.world import World

        base_world = None
        if recipe.continue_from is not None:
            base_world = World.from_pretrained(recipe.continue_from.world)
        return TrainingInputs(
            spec=definition.spec,
            dataset=data_of(definition.name, self._data_folder()),
            make_encoder=lambda: MiniLMEncoder(recipe.prompt_encoder),
            base_world=base_world,
            relabelled=tuple(Dataset(folder) for folder in recipe.relabelled),
        )


def _continuation(world: str) -> Continuation | None:
    """Return how training starts from a world that may look otherwise; None: from nothing."""
    from streamdit_gym.recipes.stage_settings import Continuation

    return None if world == FROM_NOTHING else Continuation(world=world, adapt_autoencoder=True)


def default_recipe(definition: WorldDefinition) -> Recipe:
    """Return the recipe that a world is trained by, unless told otherwise.

    Where it starts from a world with frames of another size, it starts from nothing instead.
    """
    from streamdit_gym.recipes import recipe as find_recipe

    recipe = find_recipe(definition.recipe)
    start = recipe.continue_from
    if start is None or definition_of(start.world).frame_size == definition.frame_size:
        return recipe
    return replace(recipe, continue_from=None)
