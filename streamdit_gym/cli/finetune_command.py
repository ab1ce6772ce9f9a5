"""The command ``finetune``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.open_options import require_open_model
from streamdit_gym.cli.open_training_options import (
    FINETUNE_SETTINGS,
    open_training,
    result_lines,
)
from streamdit_gym.cli.option_types import WorldName
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.training_options import choose_device


@dataclass(frozen=True, kw_only=True)
class Finetune(Command):
    """Train an open video model on video of your own; run again to go on.

    Actions become words of the prompt, as in worlds. What was trained is an adapter (LoRA), or with
    weights=full a whole model; both are played as wan:FOLDER.
    """

    setting_types: ClassVar[Mapping[str, Any]] = {**FINETUNE_SETTINGS, "device": str}

    model: WorldName
    """wan:FOLDER or wan:HUB-ID, in diffusers' layout; or what finetune or distill wrote"""
    data: Path
    """a data set; LeRobot or Minari recordings, videos with captions, or a WebDataset"""
    out: Path = Path("runs/finetuned")
    """run folder: latents, curves, checkpoints, and at the end the result in model/"""
    set: Settings = ()
    """frame_size=480,832: height and width
    fps: to which recordings are resampled; default: those of the model's videos
    cameras: of recordings; default: the first
    scene: a sentence about the scene, in front of every action's words
    negative_prompt: what guidance leads away from; the sentence of clips without their own
    partitions: learned in turn; default: as the model streams, and whole clips in 3 of 10 steps
    weights=lora: an adapter; full: all weights
    rank=32: of the adapter
    steps=2000: optimizer steps
    minutes: stop this call after so many
    clips=8: of a step, of all processes
    clips_at_once=1: more take more memory, and change nothing else
    learning_rate: default: 1e-4, of all weights 1e-5
    warmup=50: steps in which the rate rises
    prompt_dropout=0.1: share of the clips without their sentences
    average_decay=0: of the averaged weights; 0: write the last ones
    dtype: bfloat16 or float32; default: bfloat16 on a GPU
    seed=0: of clips and noise
    checkpoint_minutes=5: between two checkpoints
    device: cpu or cuda; default: cuda if there is one
    """

    def run(self) -> None:
        """Train the model."""
        from streamdit_gym.open_training.open_run import WAIT, finetune_open_model
        from streamdit_gym.train import parallel

        require_open_model(self.model)
        settings = self.settings()
        device_name = settings.pop("device", None)
        training = open_training(settings)
        with parallel.join(choose_device(device_name), WAIT) as device:
            result = finetune_open_model(self.model, self.data, self.out, training, device)
            if not parallel.rank():
                print("\n".join(result_lines(result, training)))
