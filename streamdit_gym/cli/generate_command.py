"""The command ``generate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import (
    Count,
    DeviceName,
    Range,
    Seed,
    WorldName,
)
from streamdit_gym.cli.training_options import (
    choose_device,
)


@dataclass(frozen=True, kw_only=True)
class Generate(Command):
    """Make labelled video with a world: episodes in batches, with prompts, actions,
    rewards and quality flags; run again to resume.
    """

    world: WorldName
    """shipped name, folder or Hub id"""
    out: Path = Path("runs/generated")
    """folder of the data set; `train --data` reads it, whatever the format"""
    episodes: Count = 64
    """how many"""
    steps: Count = 64
    """frames per episode, beside the first"""
    policy: str = "random"
    """who acts: random; scripted or scripted:0.3 (share of random moves);
    an agent's folder or checkpoint; a file of prompts (.jsonl)
    """
    trust_agents: bool = False
    """also play agents that are only there as agent.zip; such a file is a program,
    and can do whatever you can
    """
    format: Literal["mkv", "mp4", "lerobot", "minari", "webdataset"] = "lerobot"
    """how the frames lie on disk; mkv and minari lose nothing"""
    keep_if: str = ""
    """which episodes to keep, e.g. "self_consistency_error<0.1 and drift<0.2";
    the others stand in the manifest alone
    """
    task: str = "push"
    """whose reward is the reward"""
    seed: Seed = 0
    """the data depend on the seed, the batch, and nothing else"""
    batch: Count = 32
    """episodes that are made at once, and lie in one shard"""
    images: str | None = None
    """folder of your own start frames; default: the world's bank of real ones"""
    over: str | None = None
    """data set of clips to draw over (video to video): each frame begins as the clip's,
    partly noise
    """
    strength: Annotated[float, Range(0.0, 1.0)] = 0.5
    """how much of the clips is replaced by noise, above 0 to 1"""
    partition: str = "reactive"
    """how to stream"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """precision of the transformer"""
    ray: str | None = None
    """make batches with Ray, one actor per GPU or pair of cores: the address of a cluster, auto,
    or local to start it here
    """

    def run(self) -> None:
        """Generate a data set."""
        from streamdit_gym.generate.generate import generate
        from streamdit_gym.generate.worker import GenerateConfig

        config = GenerateConfig(
            world=self.world,
            episodes=self.episodes,
            steps=self.steps,
            player=self.policy,
            task=self.task,
            seed=self.seed,
            batch=self.batch,
            images=self.images,
            over=self.over,
            strength=self.strength,
            partition=self.partition,
            dtype=self.dtype,
            device=choose_device(self.device),
            trust_agents=self.trust_agents,
        )
        ray = "" if self.ray == "local" else self.ray
        made = generate(config, self.out, kind=self.format, keep_if=self.keep_if, ray=ray)
        print(
            f"{made['kept']} of {made['episodes']} episodes kept, {made['frames']} frames, in {self.out}"
        )
        if made["result"] != str(self.out):
            print(f"for other programs: {made['result']}")
        print(f"look at them: streamdit-gym inspect {self.out}")
