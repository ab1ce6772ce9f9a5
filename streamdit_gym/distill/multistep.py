"""Multistep distillation: a student does in one evaluation what its teacher does in several,
guidance included.

Takes: a teacher, latent episodes, the phrase table.  Gives: a student.  Knows nothing of: pixels,
    simulators.

A move of the buffer carries every chunk along one segment of its way from noise to clean. The
teacher goes along it in many micro steps on the whole buffer; the student learns the straight way
from where they start to where the teacher ends. Or, where the teacher is at its best with one chunk
at a time, it draws the buffer's frames so, one after the other, and the student learns the straight
way there: that is for buffers of several chunks. The student's own frames become its references and
its buffer, so that it learns to go on from them; the teacher can say at any depth what should come
next, so no rollout is ever lost.
Source: StreamDiT (arXiv 2507.03745), section 3.4; the loss is not printed there, ours is the
    trainer's.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from streamdit_gym.checks import check_fields
from streamdit_gym.errors import PartitionError
from streamdit_gym.model.precision import training_precision
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.engine import MAX_ABS_LATENT
from streamdit_gym.stream.flow import euler_step, point
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise_levels import sampling_times
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import stream_view
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.train import parallel
from streamdit_gym.train.context_corruption import ContextCorruption
from streamdit_gym.train.latents import LatentEpisodes
from streamdit_gym.train.prompts import disturbed, spread_of
from streamdit_gym.train.run import (
    LEAST,
    MAX_BATCH,
    MAX_MICRO_STEPS,
    MAX_STEPS,
    MAX_WEIGHT,
    Average,
    Budget,
    Stage,
    choose_threads_for_stage,
)
from streamdit_gym.train.train_streamdit import (
    MOVING,
    StreamDiTTraining,
    eager,
    forgiving,
    learn,
    optimizers,
    prepare_step,
    set_peaks,
)


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a student is made.

    Attributes:
        partitions: how the buffer is cut, in turn; their micro steps are the student's.
        teacher_steps: micro steps of the teacher per move, a multiple of the student's; with
            `one_by_one` per chunk, and any number.
        one_by_one: the teacher draws the buffer's chunks one after the other, each from noise (N =
            1).
        temperature: scale of the noise that the student's chunks begin with; None: that of the
            weights it begins with. A teacher that draws alike from any noise can have a student
            that needs none: what it has begun says where things are, and nothing else.
        steps: moves of a buffer, one optimizer step each; of all partitions together.
        streams: streams under way.
        goes_on: chance that a stream goes on from the student's frames, and does not begin anew.
        damaged: chance in each move that a stream's references are damaged, for the student to
            learn how its teacher mends them. The begun chunks of its buffer are not, as a thing may
            be lost in between.
        moving: extra weight of latents that differ from those of the frame before, damaged or not,
            beside 1 for all.
        oldest: weight of the buffer's oldest chunk, the one that leaves it, beside 1 for every
            other; all together weigh what they would without it.
        prompt_noise: noise on the embeddings that the student hears, in their standard deviations;
            its teacher hears them as they are.
        prompt_hidden: largest share of tokens that is hidden from the student, in half of the
            prompts.
        kernel: root mean squared error of a latent (over its channels) beyond which the loss hardly
            grows any more.
        square: weight of the squared error in the loss.
        rate: factor on the learning rates of `StreamDiTTraining`.
        cooldown: last part of the steps, in which the learning rates go to zero linearly.
        decay: of the averaged weights.
        by_minutes: the learning rates follow the minutes, if they are over before the steps.
        compile: compile the blocks of teacher and student.
    """

    partitions: tuple[Partition, ...]
    teacher_steps: int = 4
    one_by_one: bool = False
    temperature: float | None = None
    steps: int = 4_000
    streams: int = 64
    goes_on: float = 0.98
    damaged: float = 0.05
    moving: float = 8.0
    oldest: float = 9.0
    prompt_noise: float = 0.5
    prompt_hidden: float = 1.0
    kernel: float = 0.3
    square: float = 0.02
    rate: float = 0.25
    cooldown: float = 0.6
    decay: float = 0.999
    by_minutes: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        shares = (0, 1)
        check_fields(
            self,
            ints={
                "teacher_steps": (1, MAX_MICRO_STEPS),
                "steps": (0, MAX_STEPS),
                "streams": (1, MAX_BATCH),
            },
            reals={
                "temperature": (0, MAX_WEIGHT),
                "goes_on": shares,
                "damaged": shares,
                "moving": (0, MAX_WEIGHT),
                "oldest": (0, MAX_WEIGHT),
                "prompt_noise": (0, MAX_WEIGHT),
                "prompt_hidden": shares,
                "kernel": (LEAST, MAX_WEIGHT),
                "square": (0, MAX_WEIGHT),
                "rate": (0, 100),
                "cooldown": (LEAST, 1),
                "decay": shares,
            },
            bools=("one_by_one", "by_minutes", "compile"),
        )
        for partition in self.partitions:
            if not partition.references:
                raise PartitionError(
                    "a stream without references cannot go on",
                    given=str(partition),
                    allowed="K of 1 or more",
                    remedy="for example K4N1c1s1",
                )
            each = 1 if self.one_by_one else partition.micro_steps
            if self.teacher_steps % each:
                raise PartitionError(
                    "the teacher's micro steps do not divide among the student's",
                    given=f"{self.teacher_steps} for {partition}",
                    allowed=f"a multiple of {each}",
                    remedy="for example 4 for K4N1c1s1",
                )
        if not self.partitions:
            raise PartitionError(
                "nothing to learn",
                given="no partition",
                allowed="one or more",
                remedy="for example K4N1c1s1",
            )


@dataclass(frozen=True, kw_only=True)
class Streams:
    """Streams of one partition under way.

    Attributes:
        episode: the recorded episode whose prompts a stream follows.
        place: the frame of it that the next chunk begins with.
        references: the last K clean frames.
        reference_prompts: their prompts.
        buffer: the N - 1 begun chunks.
    """

    episode: Int[Tensor, " b"]
    place: Int[Tensor, " b"]
    references: Float[Tensor, "b k c h w"]
    reference_prompts: Int[Tensor, "b k"]
    buffer: MovingBuffer


class Distiller:
    """One move of teacher and student, and one optimizer step.

    Args:
        teacher: the model to learn from; left as it is.
        student: the model that learns, of any size that fits the same latents.
        episodes: where streams begin, and whose prompts they follow.
        table: embeddings of every phrase of the data set, in its order.
        config: the recipe.
        device: where to train.
        damage: how references are damaged; None: they never are.
    """

    def __init__(
        self,
        teacher: StreamDiT,
        student: StreamDiT,
        episodes: LatentEpisodes,
        table: PromptTable,
        config: Distillation,
        device: str,
        damage: ContextCorruption | None = None,
    ) -> None:
        self.teacher, self.student, self.episodes, self.config, self.device = (
            teacher,
            student,
            episodes,
            config,
            device,
        )
        self.damage = damage
        self.table = table.to(device, torch.float32)
        self.spread = spread_of(self.table)
        self.generator = torch.Generator().manual_seed(0)
        self.local = student.config.spatial_channels
        student.requires_grad_(True)
        student.appearance.requires_grad_(False)  # there are no steps in it
        self.optimizers = optimizers(student, StreamDiTTraining(rate=config.rate))
        if config.compile:
            for block in (*teacher.blocks, *student.blocks):
                block.compile()
        self.streams: dict[Partition, Streams] = {}
        self.moves = 0

    def step(self, progress: float) -> float:
        """Take one optimizer step.

        Args:
            progress: done part of the distillation, 0 to 1.

        Returns:
            The loss.
        """
        prepare_step(self.optimizers, progress, self.config.cooldown)
        return learn(self.student, self.optimizers, self.move())

    def move(self) -> Tensor:
        """Move every stream of the next partition by one chunk and return the student's loss on the
        way.
        """
        config = self.config
        partition = config.partitions[self.moves % len(config.partitions)]
        self.moves += 1
        streams, c = self._damaged(self._next(partition)), partition.chunk_frames
        rows, place = streams.episode[:, None], streams.place[:, None] + torch.arange(c)
        buffer = streams.buffer.push(
            self._noise(self.student, streams.references[:, :1].expand(-1, c, -1, -1, -1)),
            self._prompts(rows, place),
        )
        loss = torch.zeros((), device=self.device)
        drawn = self._draw(streams, buffer) if config.one_by_one else None
        for k in range(partition.micro_steps):
            begun = buffer.latents
            if drawn is None:
                wanted = (self._teach(streams, buffer, k) - begun) * (
                    partition.chunks * partition.micro_steps
                )
            else:
                wanted = (drawn - begun) / (1 - sampling_times(partition, k).to(self.device))[
                    :, None, None, None
                ]
            found = self._velocity(self.student, streams, buffer, partition, k)
            error = (found - wanted)[:, :, : self.local].square().mean(2, keepdim=True)
            stepped = euler_step(
                begun, found.detach(), 1 / (partition.chunks * partition.micro_steps)
            )
            loss = (
                loss
                + (
                    self._weight(streams, stepped, partition)
                    * forgiving(error, config.kernel, config.square)
                ).mean()
            )
            buffer = buffer.with_latents(stepped.clamp(-MAX_ABS_LATENT, MAX_ABS_LATENT))
        clean, prompts, buffer = buffer.pop()
        kept = partition.references
        self.streams[partition] = replace(
            streams,
            place=streams.place + c,
            references=torch.cat([streams.references, clean], 1)[:, -kept:],
            reference_prompts=torch.cat([streams.reference_prompts, prompts], 1)[:, -kept:],
            buffer=buffer,
        )
        return loss / partition.micro_steps

    @torch.no_grad()
    def _teach(self, streams: Streams, buffer: MovingBuffer, micro_step: int) -> Tensor:
        """Return where the teacher carries the buffer in one of the student's micro steps."""
        partition = replace(buffer.partition, micro_steps=self.config.teacher_steps)
        each = self.config.teacher_steps // buffer.partition.micro_steps
        for k in range(micro_step * each, (micro_step + 1) * each):
            found = self._velocity(self.teacher, streams, buffer, partition, k)
            buffer = buffer.with_latents(
                euler_step(buffer.latents, found, 1 / (partition.chunks * partition.micro_steps))
            )
        return buffer.latents

    @torch.no_grad()
    def _draw(self, streams: Streams, buffer: MovingBuffer) -> Tensor:
        """Return the buffer's frames as the teacher draws them chunk after chunk, each from noise,
        all before it clean.
        """
        kept, c = buffer.partition.references, buffer.partition.chunk_frames
        partition = replace(buffer.partition, chunks=1, micro_steps=self.config.teacher_steps)
        drawn = []
        for prompts in buffer.prompts.split(c, 1):
            chunk = MovingBuffer(
                partition=partition,
                latents=self._noise(self.teacher, buffer.latents[:, :c]),
                prompts=prompts,
            )
            for k in range(partition.micro_steps):
                found = self._velocity(self.teacher, streams, chunk, partition, k)
                chunk = chunk.with_latents(
                    euler_step(chunk.latents, found, 1 / partition.micro_steps)
                )
            drawn.append(chunk.latents)
            streams = replace(
                streams,
                references=torch.cat([streams.references, chunk.latents], 1)[:, -kept:],
                reference_prompts=torch.cat([streams.reference_prompts, prompts], 1)[:, -kept:],
            )
        return torch.cat(drawn, 1)

    def _velocity(
        self,
        model: StreamDiT,
        streams: Streams,
        buffer: MovingBuffer,
        partition: Partition,
        micro_step: int,
    ) -> Tensor:
        times = (
            sampling_times(partition, micro_step).to(self.device).expand(len(buffer.latents), -1)
        )
        view = stream_view(
            streams.references,
            torch.ones(streams.references.shape[:2], device=self.device),
            buffer.latents,
            times,
            causal=model.config.causal,
            chunk_frames=partition.chunk_frames,
            limit=model.config.references,
        )
        said = self.table.distinct(torch.cat([streams.reference_prompts, buffer.prompts], 1))
        if model is self.student:
            said = disturbed(said, self.spread, self.config.prompt_noise, self.config.prompt_hidden)
        with training_precision(self.device):
            found, _ = model(view, said)
        return found.float()

    def _weight(self, streams: Streams, frames: Tensor, partition: Partition) -> Tensor:
        before = torch.cat([streams.references[:, -1:], frames[:, :-1]], 1)
        moving = 1 + self.config.moving * (
            (frames - before)[:, :, : self.local].square().mean(2, keepdim=True) > MOVING
        )
        slots = torch.tensor(
            [self.config.oldest] + [1.0] * (partition.chunks - 1), device=self.device
        )
        return (
            moving
            * (slots / slots.mean()).repeat_interleave(partition.chunk_frames)[:, None, None, None]
        )

    def _next(self, partition: Partition) -> Streams:
        """Return a partition's streams, those that end or do not go on begun anew."""
        config = self.config
        k, waiting = partition.references, partition.frames - partition.chunk_frames
        length = self.episodes.latents.shape[1]
        episode, start = self.episodes.draw(config.streams, k + partition.frames, self.generator)
        frames, prompts = self.episodes.clips(episode, start, k + waiting)
        frames, prompts = frames.to(self.device, torch.float32), prompts.to(self.device)
        times = sampling_times(partition, 0)[:waiting].to(self.device).expand(len(frames), -1)
        begun = point(frames[:, k:], self._noise(self.student, frames[:, k:]), times)
        fresh = Streams(
            episode=episode,
            place=start + k + waiting,
            references=frames[:, :k],
            reference_prompts=prompts[:, :k],
            buffer=MovingBuffer(partition=partition, latents=begun, prompts=prompts[:, k:]),
        )
        own = self.streams.get(partition)
        if own is None:
            return fresh
        on = (torch.rand(len(episode), generator=self.generator) < config.goes_on) & (
            own.place + partition.chunk_frames <= length
        )

        def either(old: Tensor, new: Tensor) -> Tensor:
            return torch.where(on.to(old.device).reshape(-1, *[1] * (old.ndim - 1)), old, new)

        buffer = own.buffer.with_latents(either(own.buffer.latents, fresh.buffer.latents))
        return Streams(
            episode=either(own.episode, episode),
            place=either(own.place, fresh.place),
            references=either(own.references, fresh.references),
            reference_prompts=either(own.reference_prompts, fresh.reference_prompts),
            buffer=replace(buffer, prompts=either(buffer.prompts, fresh.buffer.prompts)),
        )

    def _noise(self, model: StreamDiT, like: Tensor) -> Tensor:
        return model.config.temperature * torch.randn_like(like)

    def _damaged(self, streams: Streams) -> Streams:
        hit = (torch.rand(len(streams.episode), generator=self.generator) < self.config.damaged).to(
            self.device
        )
        if self.damage is None or not hit.any():
            return streams
        references = streams.references.clone()
        references[hit] = self.damage(references[hit])
        return replace(streams, references=references)

    def _prompts(self, episode: Tensor, place: Tensor) -> Tensor:
        device = self.episodes.prompts.device
        return self.episodes.prompts[episode.to(device), place.to(device)].to(self.device)


def distill(
    teacher: StreamDiT,
    begun: StreamDiT,
    episodes: LatentEpisodes,
    table: PromptTable,
    config: Distillation,
    folder: Path,
    device: str,
    minutes: float | None = None,
    damage: ContextCorruption | None = None,
) -> StreamDiT:
    """Return a student of a teacher, resuming from the run folder; it holds the averaged weights.

    Args:
        teacher: the model to learn from, its guidance in its config.
        begun: whose weights the student begins with, mostly the teacher itself.
        episodes: training episodes.
        table: embeddings of the data set's phrases.
        config: the recipe.
        folder: run folder.
        device: where to train.
        minutes: stop this call after so long.
        damage: how references are damaged; None: they never are.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    temperature = begun.config.temperature if config.temperature is None else config.temperature
    student = StreamDiT(replace(teacher.config, guidance=1.0, temperature=temperature))
    student.load_state_dict(begun.state_dict())
    student.to(device).train()
    distiller = Distiller(
        teacher.to(device).eval().requires_grad_(False),
        student,
        episodes.to(device),
        table,
        config,
        device,
        damage,
    )
    average = Average(student, config.decay)
    state = {
        "student": student,
        "matrices": distiller.optimizers[0],
        "others": distiller.optimizers[1],
        "average": average,
    }
    choose_threads_for_stage(device, partial(_practise, distiller, table))
    stage = Stage(folder, "distill", state)
    set_peaks(distiller.optimizers, StreamDiTTraining(rate=config.rate))
    distiller.moves = stage.step
    distiller.generator.manual_seed(parallel.seed(1 + stage.step))
    torch.manual_seed(parallel.seed(1 + stage.step))
    for step in stage.steps(
        Budget(steps=config.steps, minutes=minutes, by_minutes=config.by_minutes)
    ):
        loss = distiller.step(stage.progress)
        average.update(student)
        if step % 50 < len(config.partitions):  # of every partition one
            stage.log(**{f"loss/{config.partitions[step % len(config.partitions)]}": loss})
    average.copy_to(student)
    return student.eval().requires_grad_(False)


def _practise(distiller: Distiller, table: PromptTable) -> None:
    """Do what a step does, on a copy of the student and few streams."""
    few = replace(distiller.config, streams=min(8, distiller.config.streams), compile=False)
    student = copy.deepcopy(distiller.student)
    with eager():
        Distiller(
            distiller.teacher, student, distiller.episodes, table, few, distiller.device
        ).move().backward()
