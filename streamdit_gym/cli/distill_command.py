"""The command ``distill``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.open_options import is_open_model, refuse_settings
from streamdit_gym.cli.open_training_options import DISTILL_SETTINGS, open_training, result_lines
from streamdit_gym.cli.option_types import Count, DeviceName, Minutes, WorldName
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.training_options import check_new_run, choose_device
from streamdit_gym.cli.world_argument import bundle_of, data_of
from streamdit_gym.errors import ArgumentError

if TYPE_CHECKING:
    from streamdit_gym.model.streamdit_config import StreamDiTConfig
    from streamdit_gym.recipes import Recipe
    from streamdit_gym.recipes.distillation_settings import Distillation

OPEN_MODEL = "an open model"
TRAINING_GUIDE = "docs/guides/open_training.md"


@dataclass(frozen=True, kw_only=True)
class Distill(Command):
    """Make a world faster: a student does in one evaluation what its teacher does in several.

    The teacher may be an open video model, wan:FOLDER or wan:HUB-ID.
    """

    resume_options: ClassVar[str] = "--resume"
    setting_types: ClassVar[Mapping[str, Any]] = {**DISTILL_SETTINGS, "compile": bool}

    world: WorldName
    """the teacher: name, folder or Hub id; or a Python file that registers the world; or wan:MODEL
    """
    recipe: str | None = None
    """how the student learns (its part `distillation`): a name, or a Python file of your own;
    default: flow for a world that draws from noise, else default
    """
    data: Path | None = None
    """a data set of the same world, see record; default: recorded/NAME; of an open model what
    finetune takes
    """
    out: Path = Path("runs/student")
    """run folder: config, curves, checkpoints, and at the end the student in world/,
    the guided teacher in teacher/; of an open model the student in model/
    """
    steps: Count | None = None
    """optimizer steps, of all partitions together; default: those of the recipe,
    of an open model 2000
    """
    minutes: Minutes | None = None
    """stop this call after so many minutes"""
    resume: bool = False
    """go on with what is in the run folder"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    set: Settings = ()
    """compile=false: compile a world's transformers
    of open models alone:
    teacher_steps=4: evaluations of the teacher in one of the student
    guidance=6: the teacher's weight of the prompt, which the student learns
    max_moves=1: of the buffer by the student, before the move that is learned
    partitions: one, such as K5N8c2s1, the default of SkyReels-V2-DF
    frame_size=480,832: height and width
    fps: to which recordings are resampled; default: those of the model's videos
    cameras: of recordings; default: the first
    scene: a sentence about the scene, in front of every action's words
    negative_prompt: what the teacher's guidance leads away from
    weights=lora: an adapter; full: all weights
    rank=32: of the adapter
    clips=8: of a step, of all processes
    clips_at_once=1: more take more memory, and change nothing else
    learning_rate: default: 1e-4, of all weights 1e-5
    warmup=50: steps in which the rate rises
    average_decay=0: of the averaged weights; 0: write the last ones
    dtype: bfloat16 or float32; default: bfloat16 on a GPU
    seed=0: of clips and noise
    checkpoint_minutes=5: between two checkpoints
    """

    def run(self) -> None:
        """Make a student."""
        settings = self.settings()
        if is_open_model(self.world):
            self._distill_open(settings)
            return
        refuse_settings(settings, DISTILL_SETTINGS, "a world")
        self._distill_world(compiled=settings.get("compile", False))

    def _distill_open(self, settings: dict[str, Any]) -> None:
        from streamdit_gym.open_training.open_run import WAIT, distill_open_model
        from streamdit_gym.train import parallel

        given = {"compile": "compile" in settings, "--recipe": self.recipe is not None}
        refuse_settings([name for name, is_given in given.items() if is_given], given, OPEN_MODEL)
        if self.data is None:
            raise ArgumentError(
                "an open model's student learns from video",
                given="no --data",
                allowed=f"what finetune takes, see {TRAINING_GUIDE}",
                remedy="--data FOLDER",
            )
        check_new_run(self.out, self.resume)
        if self.steps is not None:
            settings["steps"] = self.steps
        training = open_training({**settings, "minutes": self.minutes})
        with parallel.join(choose_device(self.device), WAIT) as device:
            result = distill_open_model(self.world, self.data, self.out, training, device)
            if not parallel.rank():
                print("\n".join(result_lines(result, training)))

    def _distill_world(self, *, compiled: bool) -> None:
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
                folder=self.out, device=device, minutes=self.minutes, compile=compiled
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
