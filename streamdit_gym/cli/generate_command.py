"""The command ``generate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.open_options import (
    OPEN_SETTINGS,
    is_open_model,
    open_settings,
    refuse_settings,
)
from streamdit_gym.cli.option_types import Count, DeviceName, Range, Seed, WorldName
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.training_options import choose_device
from streamdit_gym.cli.world_argument import bundle_of

LOCAL_RAY = "local"
RANDOM = "random"
# settings that need a world's labels, start frames or clips
WORLD_SETTINGS = ("task", "over", "strength", "clip", "clip_micro_steps", "start", "ray")


@dataclass(frozen=True, kw_only=True)
class Generate(Command):
    """Generate labelled video with a world; run again to resume.

    Episodes come in batches, with prompts, actions, rewards and quality metrics. An open video
    model, wan:FOLDER or wan:HUB-ID, makes MP4 files, and a line for each that says what it shows.
    """

    setting_types: ClassVar[Mapping[str, Any]] = {
        **OPEN_SETTINGS,
        "batch": Count,
        "clip": Annotated[int, Range(1, 64)],
        "clip_micro_steps": Annotated[int, Range(1, 64)],
        "images": str,
        "over": str,
        "ray": str,
        "seed": Seed,
        "start": Literal["frame", "drawn"],
        "strength": Annotated[float, Range(0.0, 1.0)],
        "task": str,
    }

    world: WorldName
    """name, folder or Hub id; or a Python file that registers the world; or wan:MODEL"""
    out: Path = Path("runs/generated")
    """folder of the data set; `train --data` reads it, whatever the format"""
    episodes: Count = 64
    """how many"""
    steps: Count = 64
    """frames per episode, beside the first"""
    policy: str = RANDOM
    """who acts: random; scripted or scripted:0.3 (share of random actions); an agent's folder or
    checkpoint; a file of prompts (.jsonl), the only policy of an open model: each steers an equal
    part of the video
    """
    format: Literal["mkv", "mp4", "lerobot", "minari", "webdataset"] | None = None
    """how the frames lie on disk; mkv and minari lose nothing; default: lerobot, of open models mp4
    """
    keep_if: str = ""
    """which episodes to keep, e.g. "self_consistency_error<0.1 and drift<0.2"; the others stand in
    the manifest alone
    """
    set: Settings = ()
    """seed=0, batch=32 (of open models 1): the data depend on both; a batch is generated at once
    and lies in one shard
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
    of open models, beside seed, batch, partition and images:
    prompt: of all videos, instead of a file of prompts
    frame_size=480,832: height and width
    guidance: weight of prompts, 6 or a trained model's own; 1 for distilled ones
    negative_prompt: what guidance leads away from
    time_shift: of the noise levels; default: the model's own
    clip_steps=30: evaluations for the clip that a video begins with
    dtype=bfloat16: or float32
    adapter: folder of an adapter that was trained on this model
    """
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    trust_agents: bool = False
    """also load agents that are only there as agent.zip; such a file is a program, and can do
    whatever you can
    """

    def run(self) -> None:
        """Generate a data set."""
        if is_open_model(self.world):
            self._generate_open()
        else:
            self._generate()

    def _generate_open(self) -> None:
        from dataclasses import asdict, replace

        from streamdit_gym.generate.open_films import OpenFilms, write_open_films
        from streamdit_gym.generate.start_frames import start_images
        from streamdit_gym.open_weights.load_open_model import load_open_model

        settings = self.settings()
        refuse_settings(settings, WORLD_SETTINGS, "an open model")
        self._check_open_options()
        opened = open_settings(settings, choose_device(self.device))
        opened = replace(opened, streams=min(settings.get("batch", 1), self.episodes))
        films = OpenFilms(
            schedules=self._schedules(settings),
            episodes=self.episodes,
            steps=self.steps,
            batch=opened.streams,
            seed=settings.get("seed", 0),
            images=settings.get("images"),
            model={"name": self.world, **_deciding(asdict(opened))},
        )
        sentences = [text for schedule in films.schedules for text in schedule]
        start_frames = None
        if films.images is not None:
            start_frames = start_images(Path(films.images), opened.frame_size)
        count = write_open_films(
            lambda: load_open_model(self.world, opened, sentences), films, self.out, start_frames
        )
        print(f"{count} videos generated, {self.episodes} in {self.out}, see episodes.jsonl")

    def _check_open_options(self) -> None:
        """Refuse options that mean nothing for an open model."""
        from streamdit_gym.generate.prompt_file import is_prompt_file

        given = {
            "--keep-if": bool(self.keep_if),
            "--trust-agents": self.trust_agents,
            f"--format {self.format}": self.format not in (None, "mp4"),
            f"--policy {self.policy}": self.policy != RANDOM and not is_prompt_file(self.policy),
        }
        refused = [option for option, is_given in given.items() if is_given]
        refuse_settings(refused, refused, "an open model")

    def _schedules(self, settings: Mapping[str, Any]) -> list[list[str]]:
        """Return the sentences of every video; none if none were given."""
        from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS
        from streamdit_gym.generate.prompt_file import is_prompt_file, read_prompts

        if is_prompt_file(self.policy):
            refuse_settings(settings, ["prompt"], "a file of prompts")
            return read_prompts(Path(self.policy), MAX_LONG_PROMPT_CHARS)
        return [[settings["prompt"]]] if "prompt" in settings else []

    def _generate(self) -> None:
        from streamdit_gym.generate.dataset_builder import generate
        from streamdit_gym.generate.generate_config import GenerateConfig

        settings = self.settings()
        refuse_settings(settings, set(OPEN_SETTINGS) - {"partition", "dtype"}, "a world")
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
        dataset = generate(
            config, self.out, kind=self.format or "lerobot", keep_if=self.keep_if, ray=ray
        )
        kept = f"{dataset.num_kept} of {dataset.num_generated} episodes kept"
        print(f"{kept}, {dataset.num_frames} frames, in {self.out}")
        if dataset.location != str(self.out):
            print(f"for other programs: {dataset.location}")
        print(f"look at them: streamdit-gym inspect {self.out}")


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what decides the content of videos, of the settings of an open model."""
    return {name: value for name, value in settings.items() if name not in ("device", "streams")}
