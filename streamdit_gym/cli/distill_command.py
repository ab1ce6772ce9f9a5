"""The command ``distill``."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar

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
class Distill(Command):
    """Make a world faster: a student learns to do in one evaluation what its teacher does in
    several, guidance included.
    """

    resume_options: ClassVar[str] = "--resume"

    world: WorldName
    """the teacher: shipped name, folder or Hub id"""
    data: Path | None = None
    """a data set of the same world, see record; default: recorded/WORLD"""
    out: Path = Path("runs/student")
    """run folder: config, curves, checkpoints, and at the end the student in world/,
    the guided teacher in teacher/
    """
    partition: tuple[str, ...] = ("reactive",)
    """how the student's buffer is cut, and how many evaluations it takes: reactive, pipelined or a
    short form like K4N1c1s2; several are learned in turn, and one that is named more than once more
    often"""
    teacher_steps: Count = 4
    """evaluations of the teacher per move, a multiple of the student's (with --one-by-one per
    chunk, any number); the teacher must be good at so many"""
    one_by_one: bool = False
    """the teacher draws chunk after chunk, each from noise as in reactive, and not along the
    student's buffer: for students with a longer buffer than their teacher is good at"""
    temperature: Annotated[float, Range(0.0, 100.0)] | None = None
    """scale of the noise that the student's chunks begin with, if not that of the weights it begins
    with; 0, without noise, for a teacher that draws alike from any noise, as one with --one-by-one
    and one step does"""
    guidance: Annotated[float, Range(0.0, 100.0)] = 1.0
    """classifier-free guidance of the teacher; 1 is none"""
    steps: Count = 4000
    """optimizer steps, of all partitions together"""
    decoder_blocks: CountOrZero | None = None
    """leave the transformer as it is, and train the decoder on with its first so many blocks on
    each grid, all or fewer; --steps are the decoder's, and flags about a student or a teacher do
    not go with it"""
    streams: Count = 64
    """streams under way, all moved in each step; a GPU takes 1024"""
    rate: Annotated[float, Range(0.0, 1000.0)] = 0.25
    """factor on the learning rates of training; with 1024 streams a half"""
    minutes: Minutes | None = None
    """stop this call after so many minutes"""
    by_minutes: bool = False
    """the learning rate ends with --minutes, if they are over before the steps"""
    resume: bool = False
    """go on with what is in the run folder"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    threads: Threads | None = None
    """threads on a CPU; default: as OMP_NUM_THREADS says,
    else measured at the start of every stage: one where other programs run
    """
    compile: bool = False
    """compile the transformers"""
    prompt_encoder: str | None = None
    """folder or Hub id of the MiniLM encoder; default: the installed package, else the Hub"""

    def run(self) -> None:
        """Make a student of a world."""
        from streamdit_gym.data.dataset import Dataset
        from streamdit_gym.distill.distill_world import distill_world
        from streamdit_gym.distill.multistep import Distillation
        from streamdit_gym.presets import partition
        from streamdit_gym.text.prompt_encoder import MiniLMEncoder
        from streamdit_gym.train import parallel
        from streamdit_gym.world import World

        check_new_run(self.out, self.resume)
        set_threads(self.threads)
        if self.decoder_blocks is not None:
            self._distill_decoder()
            return
        check_minutes(self.by_minutes, self.minutes)
        config = Distillation(
            partitions=tuple(map(partition, self.partition)),
            teacher_steps=self.teacher_steps,
            one_by_one=self.one_by_one,
            temperature=self.temperature,
            steps=self.steps,
            streams=self.streams,
            rate=self.rate,
            by_minutes=self.by_minutes,
            compile=self.compile,
        )
        world = World.from_pretrained(self.world)
        dataset = Dataset(self.data or Path("recorded") / world.spec.name)
        with parallel.join(choose_device(self.device)) as device:
            distill_world(
                world,
                dataset,
                lambda: MiniLMEncoder(self.prompt_encoder),
                self.out,
                config,
                device,
                guidance=self.guidance,
                minutes=self.minutes,
            )
            if parallel.rank():
                return
        print("compare the student with its teacher:")
        told = []
        for cut in config.partitions:
            taught = replace(
                cut, micro_steps=config.teacher_steps, chunks=1 if config.one_by_one else cut.chunks
            )
            told.append(
                f"{self.out / 'world'} --partition {cut} --teacher {self.out / 'teacher'} --teacher-partition {taught}"
            )
        for judged in dict.fromkeys(told):
            print(f"  streamdit-gym evaluate {judged}")

    def _distill_decoder(self) -> None:
        from streamdit_gym.data.dataset import Dataset
        from streamdit_gym.distill.decoder import distill_decoder
        from streamdit_gym.train import parallel
        from streamdit_gym.train.train_codec import CodecTraining
        from streamdit_gym.world import World

        own = ("data", "out", "steps", "minutes", "resume", "device", "threads")
        told = [
            f"--{field.name.replace('_', '-')}"
            for field in fields(self)
            if field.name not in (*own, "world", "decoder_blocks")
            and getattr(self, field.name) != field.default
        ]
        if told:
            raise StreamDiTError(
                "flags that say nothing about a decoder",
                given=f"--decoder-blocks with {' '.join(told)}",
                allowed=", ".join(f"--{name}" for name in own),
                remedy="leave the others out, or --decoder-blocks",
            )
        assert self.decoder_blocks is not None
        world = World.from_pretrained(self.world)
        dataset, recipe = (
            Dataset(self.data or Path("recorded") / world.spec.name),
            CodecTraining(steps=self.steps),
        )
        with parallel.join(choose_device(self.device)) as device:
            made = distill_decoder(
                world, dataset, self.out, self.decoder_blocks, recipe, device, self.minutes
            )
            if parallel.rank():
                return
        if made is None:
            print("the time is up; go on with --resume")
        else:
            print(
                f"compare it with the world as it was:\n  streamdit-gym evaluate {self.out / 'world'} --teacher {self.world}"
            )
