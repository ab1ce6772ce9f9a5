"""Multistep distillation of an open model: one evaluation for several guided ones of its teacher.

The buffer begins with noised clips; the student may move it before, so that it learns to go on from
its own frames. The teacher takes its guided micro steps on the whole buffer, and the student learns
the straight way from where they start to where the teacher ends.
Source: StreamDiT (arXiv 2507.03745), section 3.4; the loss is not printed there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from streamdit_gym.open_training.flow_trainer import OpenTrainer
from streamdit_gym.open_training.open_batches import Batch, OpenBatches
from streamdit_gym.open_training.open_settings import OpenTraining
from streamdit_gym.open_weights.wan_backbone import WanBackbone
from streamdit_gym.stream.flow import euler_step, point
from streamdit_gym.stream.noise_levels import sampling_times, shifted
from streamdit_gym.stream.partition import Partition

MICRO_STEP = 1  # number of a choice that all clips of a step share


@dataclass(frozen=True, kw_only=True)
class BufferState:
    """A buffer on its way.

    Attributes:
        references: at their noise level.
        frames: of the buffer, each at its slot's noise level.
        rows: sentences of references and frames.
        moves: of the buffer so far.
    """

    references: Float[Tensor, "b k c h w"]
    frames: Float[Tensor, "b f c h w"]
    rows: Tensor
    moves: int


class OpenDistiller(OpenTrainer):
    """The loss of a distillation.

    Args:
        student: the model that learns, without guidance.
        teacher: the model to learn from, with guidance.
        as_teacher: returns a context in which the teacher's weights are its own, where it shares
            them with the student.
        batches: of clips.
        settings: of the training.
        partition: that the student learns.
        device: where it is trained.

    Raises:
        DatasetError: if all clips are too short for the partition.
    """

    def __init__(
        self,
        student: WanBackbone,
        teacher: WanBackbone,
        as_teacher: Callable[[], AbstractContextManager[None]],
        batches: OpenBatches,
        settings: OpenTraining,
        partition: Partition,
        device: str,
    ) -> None:
        super().__init__(student, batches, settings, device)
        batches.check_length(partition)
        self.teacher = teacher
        self.as_teacher = as_teacher
        self.partition = partition
        spare = batches.longest - partition.references - partition.frames
        self.max_moves = min(settings.max_moves, spare // partition.chunk_frames)

    def clips_loss(self, step: int, numbers: range) -> Tensor:
        """Return the student's mean squared distance from the straight way of its teacher."""
        state, micro_step = self.start(step, numbers)
        target = self.teacher_velocity(state, micro_step)
        return functional.mse_loss(self.student_velocity(state, micro_step), target)

    def start(self, step: int, numbers: range) -> tuple[BufferState, int]:
        """Return where teacher and student start from, and in which micro step of a move."""
        partition = self.partition
        moves = self.batches.choice(step, self.max_moves + 1)
        micro_step = self.batches.choice(step, partition.micro_steps, MICRO_STEP)
        count = partition.references + partition.frames + moves * partition.chunk_frames
        batch = self.batches.batch(step, numbers, count).to(self.device)
        state = self._noised(batch)
        with torch.no_grad():
            for _ in range(moves):
                for k in range(partition.micro_steps):
                    state = self._moved_on(state, self.student_velocity(state, k), k)
                state = self._next_chunk(state, batch)
            for k in range(micro_step):
                state = self._moved_on(state, self.student_velocity(state, k), k)
        return state, micro_step

    def student_velocity(self, state: BufferState, micro_step: int) -> Tensor:
        """Return the student's velocity of a buffer."""
        return self._velocity_of(self.backbone, state, self.partition, micro_step)

    @torch.no_grad()
    def teacher_velocity(
        self, state: BufferState, micro_step: int, evaluations: int | None = None
    ) -> Tensor:
        """Return the straight way to where the teacher carries a buffer in a student's micro step.

        Args:
            state: the buffer.
            micro_step: of the student.
            evaluations: of the teacher; None: those of the settings.
        """
        count = evaluations or self.settings.teacher_steps
        fine = replace(self.partition, micro_steps=count * self.partition.micro_steps)
        first = count * micro_step
        start = state.frames
        with self.as_teacher():
            for k in range(first, first + count):
                velocity = self._velocity_of(self.teacher, state, fine, k)
                frames = euler_step(state.frames, velocity, self._step_size(fine, k))
                state = replace(state, frames=frames)
        return (state.frames - start) / self._step_size(self.partition, micro_step)

    def times(self, partition: Partition, micro_step: int) -> Float[Tensor, " f"]:
        """Return the noise levels of a buffer; those after the last micro step of a move, too."""
        return shifted(sampling_times(partition, micro_step), self.backbone.time_shift).to(
            self.device
        )

    def _step_size(self, partition: Partition, micro_step: int) -> Float[Tensor, "f 1 1 1"]:
        way = self.times(partition, micro_step + 1) - self.times(partition, micro_step)
        return way[:, None, None, None]

    def _velocity_of(
        self, model: WanBackbone, state: BufferState, partition: Partition, micro_step: int
    ) -> Tensor:
        times = self.times(partition, micro_step).expand(len(state.frames), -1)
        return self.velocity(model, state.references, state.frames, times, state.rows)

    def _noised(self, batch: Batch) -> BufferState:
        """Return a buffer of clean clips, every chunk at its slot's noise level."""
        first = self.partition.references
        end = first + self.partition.frames
        times = self.times(self.partition, 0).expand(len(batch.latents), -1)
        return BufferState(
            references=self.with_noise(batch.latents[:, :first], batch.noise[:, :first]),
            frames=point(batch.latents[:, first:end], batch.noise[:, first:end], times),
            rows=batch.rows[:, :end],
            moves=0,
        )

    def _moved_on(self, state: BufferState, velocity: Tensor, micro_step: int) -> BufferState:
        step_size = self._step_size(self.partition, micro_step)
        return replace(state, frames=euler_step(state.frames, velocity, step_size))

    def _next_chunk(self, state: BufferState, batch: Batch) -> BufferState:
        """Return the buffer after its front chunk became references, with new noise behind it."""
        chunk = self.partition.chunk_frames
        last = state.rows.shape[1] + state.moves * chunk
        begin = self.partition.references + state.moves * chunk
        # its own noise with the channels moved on by one, so that none meets what it came from
        noise = batch.noise[:, begin : begin + chunk].roll(1, 2)
        front = self.with_noise(state.frames[:, :chunk], noise)
        references = torch.cat([state.references, front], 1)[:, chunk:]
        fresh = batch.noise[:, last : last + chunk]
        first_row = (state.moves + 1) * chunk
        return BufferState(
            references=references,
            frames=torch.cat([state.frames[:, chunk:], fresh], 1),
            rows=batch.rows[:, first_row : first_row + state.rows.shape[1]],
            moves=state.moves + 1,
        )
