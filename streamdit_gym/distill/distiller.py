"""Multistep distillation: a student does in one evaluation what its teacher does in several.

A move of the buffer carries every chunk along one segment of its way from noise to clean. The
teacher goes along it in many micro steps on the whole buffer, guided; the student learns the
straight way from where they start to where the teacher ends. An autoregressive teacher, which is at
its best with one chunk at a time, draws the buffer's frames one after the other instead, and the
student learns the straight way there.

The student's own frames become its references and its buffer, so that it learns to go on from them.
The teacher can tell at any depth what should come next, so no rollout is ever lost.
Source: StreamDiT (arXiv 2507.03745), section 3.4; the loss is not printed there, ours is the
trainer's.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from streamdit_gym.distill.student_streams import StreamSampler, StudentStreams
from streamdit_gym.model.precision import training_precision
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.recipes.distillation_settings import Distillation
from streamdit_gym.stream.flow import euler_step
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise_levels import sampling_times
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import MAX_ABS_LATENT
from streamdit_gym.stream.views import stream_view
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.train.dynamics_trainer import eager
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.losses import channel_error, motion_weight, robust_loss
from streamdit_gym.train.prompt_corruption import PromptCorruption
from streamdit_gym.train.rollout_windows import Corruption
from streamdit_gym.types import Conditioning

MAX_REHEARSAL_STREAMS = 8


@dataclass(frozen=True, kw_only=True)
class DistillationData:
    """What streams are made of.

    Attributes:
        episodes: where streams start, and whose prompts they follow.
        table: embeddings of every phrase of the data set, in its order.
        corruption: of references; None: never.
    """

    episodes: LatentEpisodes
    table: PromptTable
    corruption: Corruption | None = None


class Distiller:
    """The loss of one move of teacher and student.

    Args:
        teacher: the model to learn from; left as it is.
        student: the model that learns, of any size that fits the same latents.
        data: what streams are made of.
        settings: of the distillation.
        device: where to train.
    """

    def __init__(
        self,
        teacher: StreamDiT,
        student: StreamDiT,
        data: DistillationData,
        settings: Distillation,
        device: str,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.data = data
        self.settings = settings
        self.device = device
        self.table = data.table.to(device, torch.float32)
        self.prompt_corruption = PromptCorruption.of_table(
            self.table, settings.prompt_noise, settings.token_dropout
        )
        self.sampler = StreamSampler(
            data.episodes, settings, device, student.config.temperature, data.corruption
        )
        self.spatial_channels = student.config.spatial_channels
        self.streams: dict[Partition, StudentStreams] = {}
        student.requires_grad_(False)
        for _, weight in student.dynamics_parameters():
            weight.requires_grad_(True)

    def seed(self, seed: int, _step: int) -> None:
        """Seed the choice of streams."""
        self.sampler.generator.manual_seed(seed)

    def loss(self, step: int, _progress: float) -> Tensor:
        """Move every stream of the step's partition by one chunk and return the student's loss."""
        partitions = self.settings.student_partitions
        partition = partitions[step % len(partitions)]
        streams = self.sampler.next(partition, self.streams.get(partition))
        streams = self.sampler.corrupted(streams)
        buffer = self._with_new_chunk(streams, partition)
        loss = torch.zeros((), device=self.device)
        frames = None
        if self.settings.autoregressive_teacher:
            frames = self.teacher_frames(streams, buffer)
        for micro_step in range(partition.micro_steps):
            step_loss, buffer = self._micro_step(streams, buffer, micro_step, frames)
            loss = loss + step_loss
        self.streams[partition] = streams.advanced(buffer)
        return loss / partition.micro_steps

    @torch.no_grad()
    def teacher_end(self, streams: StudentStreams, buffer: MovingBuffer, micro_step: int) -> Tensor:
        """Return where the teacher carries the buffer in one of the student's micro steps."""
        student = buffer.partition
        teacher_steps = self.settings.teacher_steps
        partition = replace(student, micro_steps=teacher_steps)
        per_student_step = teacher_steps // student.micro_steps
        first = micro_step * per_student_step
        for k in range(first, first + per_student_step):
            velocity = self.velocity(self.teacher, streams, buffer, partition, k)
            buffer = buffer.with_latents(euler_step(buffer.latents, velocity, _dt(partition)))
        return buffer.latents

    @torch.no_grad()
    def teacher_frames(self, streams: StudentStreams, buffer: MovingBuffer) -> Tensor:
        """Return the buffer's frames as the teacher draws them, one chunk after the other.

        Each is drawn from noise, and all frames before it are clean.
        """
        partition = self.settings.teacher_partition(buffer.partition)
        chunk_frames = partition.chunk_frames
        chunks: list[Tensor] = []
        for prompts in buffer.prompts.split(chunk_frames, 1):
            noise = self.noise(self.teacher, buffer.latents[:, :chunk_frames])
            chunk = MovingBuffer(partition=partition, latents=noise, prompts=prompts)
            for k in range(partition.micro_steps):
                velocity = self.velocity(self.teacher, streams, chunk, partition, k)
                chunk = chunk.with_latents(euler_step(chunk.latents, velocity, _dt(partition)))
            chunks.append(chunk.latents)
            streams = streams.with_clean(chunk.latents, prompts)
        return torch.cat(chunks, 1)

    def velocity(
        self,
        model: StreamDiT,
        streams: StudentStreams,
        buffer: MovingBuffer,
        partition: Partition,
        micro_step: int,
    ) -> Tensor:
        """Return a model's velocity of a buffer; the student's prompts are corrupted."""
        times = sampling_times(partition, micro_step).to(self.device)
        reference_times = torch.ones(streams.references.shape[:2], device=self.device)
        view = stream_view(
            streams.references,
            reference_times,
            buffer.latents,
            times.expand(len(buffer.latents), -1),
            causal=model.config.causal,
            chunk_frames=partition.chunk_frames,
            limit=model.config.references,
        )
        prompts = self._prompts(streams, buffer)
        if model is self.student:
            prompts = self.prompt_corruption(prompts)
        with training_precision(self.device):
            velocity, _ = model(view, prompts)
        return velocity.float()

    def frame_weight(self, streams: StudentStreams, frames: Tensor, partition: Partition) -> Tensor:
        """Return weights of a buffer's latents: what moves and the chunk that leaves weigh more."""
        last_reference = streams.references[:, -1:]
        previous = torch.cat([last_reference, frames[:, :-1]], 1)
        moving = motion_weight(frames, previous, self.settings.motion_weight, self.spatial_channels)
        others = [1.0] * (partition.chunks - 1)
        weights = torch.tensor([self.settings.leaving_weight, *others], device=self.device)
        weights = weights / weights.mean()
        per_frame = weights.repeat_interleave(partition.chunk_frames)
        return moving * per_frame[:, None, None, None]

    def noise(self, model: StreamDiT, like: Tensor) -> Tensor:
        """Return the noise that a model's chunks start from."""
        return model.config.temperature * torch.randn_like(like)

    def rehearse(self) -> None:
        """Do a piece of a step, on a copy of the student and few streams."""
        streams = min(MAX_REHEARSAL_STREAMS, self.settings.streams)
        settings = replace(self.settings, streams=streams)
        student = copy.deepcopy(self.student)
        data = replace(self.data, corruption=None)
        scratch = Distiller(self.teacher, student, data, settings, self.device)
        with eager():
            scratch.loss(0, 0.0).backward()

    def _micro_step(
        self,
        streams: StudentStreams,
        buffer: MovingBuffer,
        micro_step: int,
        frames: Tensor | None,
    ) -> tuple[Tensor, MovingBuffer]:
        """Return the loss of one micro step of the student, and the buffer after it."""
        settings = self.settings
        partition = buffer.partition
        target = self._target_velocity(streams, buffer, micro_step, frames)
        velocity = self.velocity(self.student, streams, buffer, partition, micro_step)
        error = channel_error(velocity, target, self.spatial_channels)
        robust = robust_loss(error, settings.robust_scale, settings.squared_weight)
        latents = euler_step(buffer.latents, velocity.detach(), _dt(partition))
        weighted = robust * self.frame_weight(streams, latents, partition)
        bounded = latents.clamp(-MAX_ABS_LATENT, MAX_ABS_LATENT)
        return weighted.mean(), buffer.with_latents(bounded)

    def _target_velocity(
        self,
        streams: StudentStreams,
        buffer: MovingBuffer,
        micro_step: int,
        frames: Tensor | None,
    ) -> Tensor:
        """Return the straight way to where the teacher ends.

        Args:
            streams: the streams.
            buffer: their buffer.
            micro_step: of the student.
            frames: the buffer's clean frames, of an autoregressive teacher.
        """
        partition = buffer.partition
        if frames is None:
            end = self.teacher_end(streams, buffer, micro_step)
            way = end - buffer.latents
            return way * (partition.chunks * partition.micro_steps)
        way = frames - buffer.latents
        remaining = 1 - sampling_times(partition, micro_step)
        remaining = remaining.to(self.device)
        return way / remaining[:, None, None, None]

    def _with_new_chunk(self, streams: StudentStreams, partition: Partition) -> MovingBuffer:
        chunk_frames = partition.chunk_frames
        like = streams.references[:, :1].expand(-1, chunk_frames, -1, -1, -1)
        noise = self.noise(self.student, like)
        return streams.buffer.push(noise, self.sampler.prompts(streams, chunk_frames))

    def _prompts(self, streams: StudentStreams, buffer: MovingBuffer) -> Conditioning:
        rows = torch.cat([streams.reference_prompts, buffer.prompts], 1)
        return self.table.distinct(rows)


def _dt(partition: Partition) -> float:
    """Return how far a micro step goes, of the whole way from noise to clean."""
    return 1 / (partition.chunks * partition.micro_steps)
