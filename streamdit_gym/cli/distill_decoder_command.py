"""The command ``distill-decoder``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import Count, DeviceName, Minutes, WorldName
from streamdit_gym.cli.training_options import check_new_run, choose_device
from streamdit_gym.cli.world_argument import bundle_of, data_of

if TYPE_CHECKING:
    from streamdit_gym.recipes.distillation_settings import DecoderDistillation


@dataclass(frozen=True, kw_only=True)
class DistillDecoder(Command):
    """Make a world's decoder shallower; transformer and encoder stay as they are."""

    resume_options: ClassVar[str] = "--resume"

    world: WorldName
    """name, folder or Hub id; or a Python file that registers the world"""
    recipe: str = "default"
    """how the decoder learns (its part `decoder`): a name, or a Python file of your own"""
    data: Path | None = None
    """a data set of the same world, see record; default: recorded/NAME"""
    out: Path = Path("runs/decoder")
    """run folder: config, curves, checkpoints, and at the end the world in world/"""
    steps: Count | None = None
    """optimizer steps; default: those of the recipe"""
    minutes: Minutes | None = None
    """stop this call after so many minutes"""
    resume: bool = False
    """go on with what is in the run folder"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""

    def run(self) -> None:
        """Train a shallower decoder."""
        from streamdit_gym.distill.decoder import distill_decoder
        from streamdit_gym.train import parallel
        from streamdit_gym.train.stage_context import RunOptions
        from streamdit_gym.world import World

        check_new_run(self.out, self.resume)
        settings = self._settings()
        world = World.from_pretrained(bundle_of(self.world))
        dataset = data_of(world.spec.name, self.data)
        with parallel.join(choose_device(self.device)) as device:
            options = RunOptions(folder=self.out, device=device, minutes=self.minutes)
            result = distill_decoder(world, dataset, settings, options)
            if parallel.rank():
                return
        if result is None:
            print("the time is up; go on with --resume")
            return
        print("compare it with the world as it was:")
        print(f"  streamdit-gym evaluate {self.out / 'world'} --teacher {self.world}")

    def _settings(self) -> DecoderDistillation:
        from streamdit_gym.recipes import recipe as find_recipe

        settings = find_recipe(self.recipe).decoder
        if self.steps is None:
            return settings
        return replace(settings, training=replace(settings.training, steps=self.steps))
