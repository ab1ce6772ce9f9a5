"""The command ``distill``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import Count, DeviceName, Minutes, WorldName
from streamdit_gym.cli.training_options import check_new_run, choose_device
from streamdit_gym.cli.world_argument import bundle_of, data_of

if TYPE_CHECKING:
    from streamdit_gym.model.streamdit_config import StreamDiTConfig
    from streamdit_gym.recipes import Recipe
    from streamdit_gym.recipes.distillation_settings import Distillation


@dataclass(frozen=True, kw_only=True)
class Distill(Command):
    """Make a world faster: a student does in one evaluation what its teacher does in several."""

    resume_options: ClassVar[str] = "--resume"

    world: WorldName
    """the teacher: name, folder or Hub id; or a Python file that registers the world"""
    recipe: str | None = None
    """how the student learns (its part `distillation`): a name, or a Python file of your own;
    default: flow for a world that draws from noise, else default
    """
    data: Path | None = None
    """a data set of the same world, see record; default: recorded/NAME"""
    out: Path = Path("runs/student")
    """run folder: config, curves, checkpoints, and at the end the student in world/,
    the guided teacher in teacher/
    """
    steps: Count | None = None
    """optimizer steps, of all partitions together; default: those of the recipe"""
    minutes: Minutes | None = None
    """stop this call after so many minutes"""
    resume: bool = False
    """go on with what is in the run folder"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    compile: bool = False
    """compile the transformers"""

    def run(self) -> None:
        """Make a student of a world."""
        from streamdit_gym.distill.distill_world import DistillationInputs, distill_world
        from streamdit_gym.recipes import recipe as find_recipe
        from streamdit_gym.text.prompt_encoder import MiniLMEncoder
        from streamdit_gym.train import parallel
        from streamdit_gym.train.stage_context import RunOptions
        from streamdit_gym.world import World

        check_new_run(self.out, self.resume)
        recipe = find_recipe(self.recipe) if self.recipe else None  # a typo costs nothing
        world = World.from_pretrained(bundle_of(self.world))
        recipe = recipe or find_recipe(usual_recipe(world.model.config))
        settings = self._settings(recipe)
        inputs = DistillationInputs(
            world=world,
            dataset=data_of(world.spec.name, self.data),
            make_encoder=lambda: MiniLMEncoder(recipe.prompt_encoder),
        )
        with parallel.join(choose_device(self.device)) as device:
            options = RunOptions(
                folder=self.out, device=device, minutes=self.minutes, compile=self.compile
            )
            distill_world(inputs, settings, options)
            if parallel.rank():
                return
        print("compare the student with its teacher:")
        print("\n".join(self._comparisons(settings)))

    def _settings(self, recipe: Recipe) -> Distillation:
        if self.steps is None:
            return recipe.distillation
        return replace(recipe.distillation, steps=self.steps)

    def _comparisons(self, settings: Distillation) -> list[str]:
        """Return the command lines that compare student and teacher, one for each partition."""
        student = self.out / "world"
        teacher = self.out / "teacher"
        lines: dict[str, None] = {}  # in order, each once
        for partition in settings.student_partitions:
            taught = settings.teacher_partition(partition)
            line = (
                f"  streamdit-gym evaluate {student} --teacher {teacher}"
                f" --set partition={partition} teacher_partition={taught}"
            )
            lines[line] = None
        return list(lines)


def usual_recipe(config: StreamDiTConfig) -> str:
    """Return the name of the recipe by which a teacher is distilled, unless told otherwise."""
    return "flow" if config.sees_noise else "default"
