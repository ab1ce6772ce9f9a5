"""The command ``train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import (
    Count,
    CountOrZero,
    DeviceName,
    Minutes,
    Range,
    Threads,
    WorldName,
)
from streamdit_gym.cli.training_options import (
    check_minutes,
    check_new_run,
    choose_device,
    set_threads,
)
from streamdit_gym.errors import StreamDiTError


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a world on a recorded data set: codec, transformer, heads;
    run again with --resume to go on.
    """

    resume_options: ClassVar[str] = "--resume"

    world: WorldName
    """name of the world, e.g. PushT"""
    data: Path | None = None
    """the data set, see record; default: recorded/WORLD"""
    corrections: tuple[Path, ...] = ()
    """data sets of the mistakes of earlier worlds, see correct;
    the transformer is trained on them as well
    """
    out: Path | None = None
    """run folder (default: runs/WORLD): config, curves, pictures, checkpoints,
    and at the end the bundle in world/
    """
    preset: Literal["tiny", "small", "base"] = "small"
    """size of codec and transformer"""
    steps: Count = 12_000
    """optimizer steps of the transformer; the learning rate ends with them"""
    codec_steps: CountOrZero = 5700
    """optimizer steps of the codec"""
    decoder_steps: CountOrZero = 0
    """with --continue-from: optimizer steps of that world's decoder alone"""
    adapt_codec: bool = False
    """with --continue-from: train that world's whole codec on, for --codec-steps;
    for frames that look otherwise than its own
    """
    looks: CountOrZero = 0
    """with --adapt-codec: so many more latent channels, three to a colour,
    tell what frames look like, and the old ones where things are
    """
    head_steps: CountOrZero = 6000
    """optimizer steps of the reward head; 0 with --continue-from: it stays that world's"""
    looks_steps: CountOrZero = 6000
    """optimizer steps of the words for looks, in a world that has a palette"""
    words_only: bool = False
    """with --continue-from: of the transformer learn only what reads prompts; what draws stays,
    and with --head-steps 0 so does the head
    """
    keep: Annotated[float, Range(0.0, 1.0)] = 0.0
    """with --continue-from: share of that world's transformer in the weights at the end, 0 to 1"""
    clips: Count = 20
    """clips per step of the transformer"""
    micro_steps: Count = 1
    """evaluations per frame that the transformer is trained for; of a world with several,
    distill makes one with one
    """
    rate: Annotated[float, Range(0.0, 1000.0)] = 1.0
    """factor on the transformer's learning rates; about a half to go on from a trained world"""
    minutes: Minutes | None = None
    """stop this call after so many minutes; every stage resumes"""
    by_minutes: bool = False
    """the transformer's learning rate ends with --minutes, if they are over before the steps:
    for a machine that is lent by the hour
    """
    resume: bool = False
    """go on with what is in the run folder"""
    continue_from: str | None = None
    """start from the weights of a world (name, folder or Hub id),
    and keep its latents unless --adapt-codec
    """
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    threads: Threads | None = None
    """threads on a CPU; default: as OMP_NUM_THREADS says,
    else measured at the start of every stage: one where other programs run
    """
    compile: bool = False
    """compile the transformer"""
    prompt_encoder: str | None = None
    """folder or Hub id of the MiniLM encoder; default: the installed package, else the Hub"""

    def run(self) -> None:
        """Train a world."""
        from streamdit_gym.data.dataset import Dataset
        from streamdit_gym.envs.worlds import spec_of
        from streamdit_gym.text.prompt_encoder import MiniLMEncoder
        from streamdit_gym.train import parallel
        from streamdit_gym.train.train_codec import CodecTraining
        from streamdit_gym.train.train_heads import HeadTraining
        from streamdit_gym.train.train_looks import LooksTraining
        from streamdit_gym.train.train_streamdit import StreamDiTTraining
        from streamdit_gym.train.train_world import WorldTraining, train_world
        from streamdit_gym.world import World

        spec = spec_of(self.world)
        out = self.out or Path("runs") / self.world
        check_new_run(out, self.resume)
        if self.adapt_codec and (self.continue_from is None or self.decoder_steps):
            raise StreamDiTError(
                "--adapt-codec goes on with a given world's whole codec",
                given="--decoder-steps" if self.decoder_steps else "no world",
                allowed="--continue-from WORLD, without --decoder-steps",
                remedy="give one of the two alone",
            )
        if (
            self.looks < 0
            or self.looks % 3
            or (self.looks and not (self.adapt_codec and self.codec_steps))
        ):
            raise StreamDiTError(
                "channels for looks are three to a colour, and need a codec that learns to use them",
                given=f"--looks {self.looks}",
                allowed="0, or a multiple of three with --adapt-codec and --codec-steps",
                remedy="say --looks 15 --adapt-codec",
            )
        if not 0 <= self.keep <= 1 or (self.keep and self.continue_from is None):
            raise StreamDiTError(
                "no such share of a world to keep",
                given=f"--keep {self.keep:g}" + ("" if self.continue_from else " without a world"),
                allowed="0 to 1, with --continue-from WORLD",
                remedy="say --keep 0.75 --continue-from WORLD, or leave it out",
            )
        if self.words_only and self.continue_from is None:
            raise StreamDiTError(
                "new words are for a world that draws already",
                given="--words-only",
                allowed="--words-only with --continue-from WORLD",
                remedy="say which world, or train all of it",
            )
        check_minutes(self.by_minutes, self.minutes)
        set_threads(self.threads)
        config = WorldTraining(
            preset=self.preset,
            codec=CodecTraining(steps=self.codec_steps),
            streamdit=StreamDiTTraining(
                steps=self.steps,
                clips=self.clips,
                micro_steps=self.micro_steps,
                compile=self.compile,
                rate=self.rate,
                by_minutes=self.by_minutes,
                words_only=self.words_only,
            ),
            heads=HeadTraining(steps=self.head_steps),
            words=LooksTraining(steps=self.looks_steps),
            decoder_steps=self.decoder_steps,
            adapt_codec=self.adapt_codec,
            looks=self.looks,
            keep=self.keep,
        )
        start = None if self.continue_from is None else World.from_pretrained(self.continue_from)
        dataset = Dataset(self.data or Path("recorded") / self.world)
        corrections = [Dataset(folder) for folder in self.corrections]
        with parallel.join(choose_device(self.device)) as device:
            world = train_world(
                spec,
                dataset,
                lambda: MiniLMEncoder(self.prompt_encoder),
                out,
                config,
                device,
                self.minutes,
                start,
                corrections,
            )
            if not parallel.rank():
                print(
                    "the time is up; go on with --resume"
                    if world is None
                    else f"the world is in {out / 'world'}"
                )
