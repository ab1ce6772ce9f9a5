"""The command ``generate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import Count, DeviceName, Range, Seed, WorldName
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.training_options import choose_device
from streamdit_gym.cli.world_argument import bundle_of

LOCAL_RAY = "local"


@dataclass(frozen=True, kw_only=True)
class Generate(Command):
    """Generate labelled video with a world; run again to resume.

    Episodes come in batches, with prompts, actions, rewards and quality metrics.
    """

    setting_types: ClassVar[Mapping[str, Any]] = {
        "batch": Count,
        "clip": Annotated[int, Range(1, 64)],
        "clip_micro_steps": Annotated[int, Range(1, 64)],
        "dtype": Literal["float32", "bfloat16"],
        "images": str,
        "over": str,
        "partition": str,
        "ray": str,
        "seed": Seed,
        "start": Literal["frame", "drawn"],
        "strength": Annotated[float, Range(0.0, 1.0)],
        "task": str,
    }

    world: WorldName
    """name, folder or Hub id; or a Python file that registers the world"""
    out: Path = Path("runs/generated")
    """folder of the data set; `train --data` reads it, whatever the format"""
    episodes: Count = 64
    """how many"""
    steps: Count = 64
    """frames per episode, beside the first"""
    policy: str = "random"
    """who acts: random; scripted or scripted:0.3 (share of random actions); an agent's folder or
    checkpoint; a file of prompts (.jsonl)
    """
    format: Literal["mkv", "mp4", "lerobot", "minari", "webdataset"] = "lerobot"
    """how the frames lie on disk; mkv and minari lose nothing"""
    keep_if: str = ""
    """which episodes to keep, e.g. "self_consistency_error<0.1 and drift<0.2"; the others stand in
    the manifest alone
    """
    set: Settings = ()
    """seed=0, batch=32: the data depend on both; a batch is generated at once and lies in one shard
    task: whose reward counts; default: the world's first
    partition=reactive: how to stream
    dtype=float32: or bfloat16
    images=FOLDER: your own start frames
    over=DATASET: clips to draw over
    strength=0.5: share of those clips that noise replaces
    clip=FRAMES: draw clips of so many frames (recipes teach 8) at once, without streaming; for
    policies that look at no frame
    clip_micro_steps=16: evaluations for each clip
    start=frame: or drawn: the world draws the first frames, too
    ray=ADDRESS: generate batches with Ray, one actor per GPU or pair of cores: the address of a
    cluster, auto, or local to start it here
    """
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    trust_agents: bool = False
    """also load agents that are only there as agent.zip; such a file is a program, and can do
    whatever you can
    """

    def run(self) -> None:
        """Generate a data set."""
        from streamdit_gym.generate.dataset_builder import generate
        from streamdit_gym.generate.generate_config import GenerateConfig

        settings = self.settings()
        ray = settings.pop("ray", None)
        config = GenerateConfig(
            world=bundle_of(self.world),
            episodes=self.episodes,
            steps=self.steps,
            policy=self.policy,
            device=choose_device(self.device),
            trust_agents=self.trust_agents,
            **settings,
        )
        if ray == LOCAL_RAY:
            ray = ""
        dataset = generate(config, self.out, kind=self.format, keep_if=self.keep_if, ray=ray)
        kept = f"{dataset.num_kept} of {dataset.num_generated} episodes kept"
        print(f"{kept}, {dataset.num_frames} frames, in {self.out}")
        if dataset.location != str(self.out):
            print(f"for other programs: {dataset.location}")
        print(f"look at them: streamdit-gym inspect {self.out}")
