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
from streamdit_gym.text.prompt_protocol import PromptSource
from streamdit_gym.train.dynamics_trainer import eager
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.losses import channel_error, motion_weight, robust_loss
from streamdit_gym.train.prompt_corruption import PromptCorruption
from streamdit_gym.train.rollout_windows import Corruption

MAX_REHEARSAL_STREAMS = 8


@dataclass(frozen=True, kw_only=True)
class DistillationData:
    """What streams are made of.

    Attributes:
        episodes: where streams start, and whose prompts they follow.
        table: embeddings of the data set's prompts.
        corruption: of references; None: never.
    """

    episodes: LatentEpisodes
    table: PromptSource
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
        self.prompt_corruption = PromptCorruption.of_prompts(
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
        settings = self.settings
        partitions = settings.student_partitions
        turn = step % len(partitions)
        partition = partitions[turn]
        last_streams = self.streams.get(partition)
        streams = self.sampler.next(partition, last_streams)
        streams = self.sampler.corrupted(streams)
        buffer = self._with_new_chunk(streams, partition)
        loss = torch.zeros((), device=self.device)
        frames = None
        if settings.autoregressive_teacher:
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
            latents = euler_step(buffer.latents, velocity, _dt(partition))
            buffer = buffer.with_latents(latents)
        return buffer.latents

    @torch.no_grad()
    def teacher_frames(self, streams: StudentStreams, buffer: MovingBuffer) -> Tensor:
        """Return the buffer's frames as the teacher draws them, one chunk after the other.

        Each is drawn from noise, and all frames before it are clean.
        """
        partition = self.settings.teacher_partition(buffer.partition)
        chunk_frames = partition.chunk_frames
        first_chunk = buffer.latents[:, :chunk_frames]
        chunks: list[Tensor] = []
        for prompts in buffer.prompts.split(chunk_frames, 1):
            noise = self.noise(self.teacher, first_chunk)
            chunk = MovingBuffer(partition=partition, latents=noise, prompts=prompts)
            for k in range(partition.micro_steps):
                velocity = self.velocity(self.teacher, streams, chunk, partition, k)
                latents = euler_step(chunk.latents, velocity, _dt(partition))
                chunk = chunk.with_latents(latents)
            clean = chunk.latents
            chunks.append(clean)
            streams = streams.with_clean(clean, prompts)
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
        rows = torch.cat([streams.reference_prompts, buffer.prompts], 1)
        prompts = self.table.distinct(rows)
        if model is self.student:
            prompts = self.prompt_corruption(prompts)
        with training_precision(self.device):
            velocity, _ = model(view, prompts)
        return velocity.float()

    def frame_weight(self, streams: StudentStreams, frames: Tensor, partition: Partition) -> Tensor:
        """Return weights of a buffer's latents: what moves and the chunk that leaves weigh more."""
        settings = self.settings
        last_reference = streams.references[:, -1:]
        frames_but_last = frames[:, :-1]
        previous = torch.cat([last_reference, frames_but_last], 1)
        moving = motion_weight(frames, previous, settings.motion_weight, self.spatial_channels)
        per_chunk = torch.ones(partition.chunks, device=self.device)
        per_chunk[0] = settings.leaving_weight
        per_chunk = per_chunk / per_chunk.mean()
        per_frame = per_chunk.repeat_interleave(partition.chunk_frames)
        return moving * per_frame[:, None, None, None]

    def noise(self, model: StreamDiT, like: Tensor) -> Tensor:
        """Return the noise that a model's chunks start from."""
        temperature = model.config.temperature
        return temperature * torch.randn_like(like)

    def rehearse(self) -> None:
        """Do a piece of a step, on a copy of the student and few streams."""
        streams = min(MAX_REHEARSAL_STREAMS, self.settings.streams)
        settings = replace(self.settings, streams=streams)
        student = copy.deepcopy(self.student)
        data = replace(self.data, corruption=None)
        scratch = Distiller(self.teacher, student, data, settings, self.device)
        with eager():
            loss = scratch.loss(0, 0.0)
            loss.backward()

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
        weight = self.frame_weight(streams, latents, partition)
        weighted = robust * weight
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
        one_frame = streams.references[:, :1]
        one_chunk = one_frame.expand(-1, chunk_frames, -1, -1, -1)
        noise = self.noise(self.student, one_chunk)
        prompts = self.sampler.prompts(streams, chunk_frames)
        return streams.buffer.push(noise, prompts)


def _dt(partition: Partition) -> float:
    """Return how far a micro step goes, of the whole way from noise to clean."""
    num_micro_steps = partition.chunks * partition.micro_steps
    return 1 / num_micro_steps
