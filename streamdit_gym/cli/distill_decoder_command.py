"""The command ``distill-decoder``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import Count, DeviceName, Minutes, WorldName
from streamdit_gym.cli.training_options import check_new_run, choose_device

if TYPE_CHECKING:
    from streamdit_gym.recipes.distillation_settings import DecoderDistillation


@dataclass(frozen=True, kw_only=True)
class DistillDecoder(Command):
    """Make a world's decoder shallower; transformer and encoder stay as they are."""

    resume_options: ClassVar[str] = "--resume"

    world: WorldName
    """shipped name, folder or Hub id"""
    recipe: str = "default"
    """how the decoder learns (its part `decoder`): a name, or a Python file of your own"""
    data: Path | None = None
    """a data set of the same world, see record; default: recorded/WORLD"""
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
        from streamdit_gym.data.dataset import Dataset
        from streamdit_gym.distill.decoder import distill_decoder
        from streamdit_gym.train import parallel
        from streamdit_gym.train.stage_context import RunOptions
        from streamdit_gym.world import World

        check_new_run(self.out, self.resume)
        settings = self._settings()
        world = World.from_pretrained(self.world)
        dataset = Dataset(self.data or Path("recorded") / world.spec.name)
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
