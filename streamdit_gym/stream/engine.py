"""The engine: prompts in, the next clean latents of many streams out.

Takes: a model, a prompt table, a partition.  Gives: sessions, and their next frames.
Knows nothing of: pixels, actions, rewards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.checks import check_real
from streamdit_gym.errors import PartitionError
from streamdit_gym.stream.clip import PromptedFrames
from streamdit_gym.stream.flow import point
from streamdit_gym.stream.model_protocol import StreamModel
from streamdit_gym.stream.moving_buffer import MovingBuffer, repeat_frames
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.noise_levels import equal_times, sampling_times, shifted
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import Sampler
from streamdit_gym.stream.self_consistency import second_prediction_error
from streamdit_gym.stream.session import Session
from streamdit_gym.stream.stream_checks import check_frames, check_shape
from streamdit_gym.text.prompt_protocol import PromptRow, Prompts, PromptSource

Latents = Float[Tensor, "b f c h w"]
WARM_UP_TICKS = 3  # compile, record, replay


class Engine:
    """Moves streams: one model, many sessions.

    Args:
        model: the transformer.
        table: embeds prompts; sessions hold them as its rows (a menu), or positions (a box).
        partition: how the buffer is cut; K must not exceed the model's references.
        idle: prompt of the chunks that a new buffer holds; None: the table's idle one.
        prompt_scope: ``"chunk"``: every frame keeps the prompt that its chunk started with (ours);
            ``"buffer"``: a new prompt conditions every frame still in the buffer (the paper's).
        autocast: run the model in bfloat16.
        compile: compile what a tick evaluates (with CUDA graphs on a GPU). `start` then takes a
            minute the first time, and again for a larger number of streams; no tick compiles.

    Attributes:
        idle: prompt of the chunks that a new buffer holds; it may change between two starts.
        prompt_scope: as given; it may change between two ticks.
        cached: whether sessions keep keys and values of references: whenever the model can.

    Raises:
        PartitionError: if the partition does not fit the model.
    """

    def __init__(
        self,
        model: StreamModel,
        table: PromptSource,
        partition: Partition,
        *,
        idle: int | Tensor | None = None,
        prompt_scope: Literal["chunk", "buffer"] = "chunk",
        autocast: bool = False,
        compile: bool = False,
    ) -> None:
        _check_references(model, partition)
        self.table = table
        self.partition = partition
        self.idle = table.idle_prompt if idle is None else torch.as_tensor(idle)
        self.prompt_scope = prompt_scope
        self.cached = _can_cache(model, partition)
        self.autocast = autocast
        self.compiles = compile
        self.sampler = Sampler(model, table, partition, autocast=autocast, compiled=compile)
        self.model = self.sampler.model
        self.device = self.sampler.device
        self._warm_streams = 0

    @torch.no_grad()
    def start(
        self,
        latents: Latents,
        prompts: Prompts,
        noise: Noise,
        *,
        ahead: PromptedFrames | None = None,
        warm: bool = True,
    ) -> Session:
        """Start streams from real frames and fill their buffers, so that no tick has to.

        Args:
            latents: clean latents, oldest first; with fewer than K + c the first is repeated, of
                more the last are used.
            prompts: the prompts that led to the frames.
            noise: a sequence for each stream; the session draws from a copy.
            ahead: clean frames that the buffer begins with, each at its slot's noise level; None:
                the last frame, which stands still, under the idle prompt.
            warm: compile ticks of so many streams now, see `warm`; False for streams that become
                rows of another session.

        Returns:
            A session at rest: the buffer holds N - 1 chunks.

        Raises:
            ShapeError: if the latents do not fit the model, or prompts or noise do not fit them.
        """
        self._check_start(latents, prompts, noise)
        latents = self._history(latents)
        session = Session(
            references=latents,
            reference_prompts=self._history(prompts),
            buffer=self._clean_buffer(latents[:, -1:], ahead),
            cache=None,
            noise=noise.to(self.device),
        )
        session.references = self.sampler.as_reference(latents, session)
        if self.cached:
            session.cache = self.sampler.prefill(session)
        if self.partition.latency_frames:
            self._add_noise_to_buffer(session)
        if warm:
            self.warm(session)
        return session

    @torch.no_grad()
    def tick(
        self,
        session: Session,
        prompts: PromptRow,
        init_latents: Latents | None = None,
        strength: float = 1.0,
    ) -> Latents:
        """Move every stream by one chunk and return the chunk that has become clean.

        The session changes all at once, at the end: after an error, or Ctrl-C, the streams are
        where they were.

        Args:
            session: the streams; changed in place.
            prompts: the prompt that conditions each stream's new chunk.
            init_latents: video to video: clean latents that the new chunk starts from, instead of
                noise alone.
            strength: how much of them is replaced by noise, near 0 (they hardly change) to 1
                (nothing of them stays); not 0.

        Raises:
            PartitionError: if the buffer holds several chunks and there are `init_latents`.
            ShapeError: if there is not one prompt, or one chunk of `init_latents`, for each stream.
            ArgumentError: if the strength is out of range.
        """
        check_shape("prompts", prompts.shape, (len(session), *self.table.prompt_shape))
        start_time = 0.0
        if init_latents is not None:
            self._check_init_latents(session, init_latents, strength)
            start_time = 1 - strength
        moved = replace(session, noise=session.noise.to(self.device))
        self._push(moved, prompts, init_latents, start_time)
        self.sampler.denoise(moved, start_time)
        clean, clean_prompts, moved.buffer = moved.buffer.pop()
        moved.append_references(self.sampler.as_reference(clean, moved), clean_prompts)
        session.become(moved)
        return clean

    @torch.no_grad()
    def self_consistency_error(self, session: Session) -> Float[Tensor, " b"]:
        """Return how far a second prediction of every stream's newest chunk is from the first.

        The streams do not change; see `streamdit_gym.stream.self_consistency`.
        """
        return second_prediction_error(self.sampler, session)

    def warm(self, session: Session) -> None:
        """Compile what a tick of so many streams evaluates, if ticks are compiled.

        The session does not change. Sessions with fewer streams than before are left out: their
        rows go into other sessions.
        """
        if not self.compiles or self._warm_streams >= len(session):
            return
        self._warm_streams = len(session)
        rehearsal = replace(session, noise=session.noise.to(self.device))
        idle_prompts = self.idle_prompts(len(session), 1)[:, 0]
        for _ in range(WARM_UP_TICKS):
            self.tick(rehearsal, idle_prompts)

    def idle_prompts(self, streams: int, frames: int) -> Prompts:
        """Return the idle prompt for some frames of some streams."""
        shape = self.table.prompt_shape
        prompts = self.idle.expand(streams, frames, *shape)
        return prompts.to(self.device).contiguous()

    @property
    def prompt_delay(self) -> int:
        """Chunks that leave the buffer before the first one that a new prompt conditions."""
        return 0 if self.prompt_scope == "buffer" else self.partition.chunks - 1

    @property
    def starts_without_noise(self) -> bool:
        """Whether a new session is the same for every noise: no reference and no chunk gets any."""
        config = self.model.config
        has_noisy_chunks = self.partition.chunks > 1 and config.temperature != 0
        return config.reference_time == 1 and not has_noisy_chunks

    def _clean_buffer(
        self, last: Float[Tensor, "b 1 c h w"], ahead: PromptedFrames | None
    ) -> MovingBuffer:
        """Return a clean buffer at rest: of frames that are known, or of the last one.

        No model has learned buffers with fewer chunks.
        """
        streams = len(last)
        frames = self.partition.latency_frames
        if ahead is not None:
            shape = (streams, frames, *last.shape[2:])
            check_shape("frames that the buffer begins with", ahead.latents.shape, shape)
            return MovingBuffer(
                partition=self.partition,
                latents=ahead.latents.to(last),
                prompts=ahead.prompts.to(self.device),
            )
        return MovingBuffer(
            partition=self.partition,
            latents=last.expand(-1, frames, -1, -1, -1),
            prompts=self.idle_prompts(streams, frames),
        )

    def _add_noise_to_buffer(self, session: Session) -> None:
        """Take every frame of a clean buffer at rest to its slot's noise level."""
        buffer = session.buffer
        streams, frames = buffer.latents.shape[:2]
        equal_steps = sampling_times(self.partition, 0)[:frames]
        times = shifted(equal_steps.to(self.device), self.model.time_shift)
        noise = self.sampler.initial_noise(session, frames)
        noisy = point(buffer.latents, noise, times.expand(streams, -1))
        session.buffer = buffer.with_latents(noisy)

    def _history(self, frames: Tensor) -> Tensor:
        """Return the last K + c frames, or their prompts; the first is repeated if needed."""
        partition = self.partition
        length = partition.references + partition.chunk_frames
        _, count, *shape = frames.shape
        missing = max(0, length - count)
        first = frames[:, :1]
        repeated = first.expand(-1, missing, *shape)
        history = torch.cat([repeated, frames], 1)
        history = history[:, -length:]
        return history.to(self.device)

    def _push(
        self,
        session: Session,
        prompts: PromptRow,
        init_latents: Latents | None,
        start_time: float,
    ) -> None:
        """Append a chunk of noise, or of noised `init_latents`, with its prompts."""
        chunk = self.partition.chunk_frames
        latents = self.sampler.initial_noise(session, chunk)
        if init_latents is not None:
            times = shifted(equal_times(latents, start_time), self.model.time_shift)
            latents = point(init_latents.to(latents), latents, times)
        of_chunk = prompts.to(self.device)[:, None]
        buffer = session.buffer.push(latents, repeat_frames(of_chunk, chunk))
        if self.prompt_scope == "buffer":
            buffer = buffer.with_prompt(of_chunk)
        session.buffer = buffer

    def _check_start(self, latents: Latents, prompts: Prompts, noise: Noise) -> None:
        check_frames(latents, prompts, self.model.config, self.table)
        check_shape("sequences of noise", (len(noise),), latents.shape[:1])

    def _check_init_latents(self, session: Session, init_latents: Latents, strength: float) -> None:
        if self.partition.chunks > 1:
            raise PartitionError(
                "frames are drawn over one chunk at a time",
                given=str(self.partition),
                allowed="N = 1",
                remedy='partition("reactive")',
            )
        check_real("strength", strength, above=0, most=1)
        shape = (len(session), self.partition.chunk_frames, *session.references.shape[2:])
        check_shape("latents to draw over", init_latents.shape, shape)


def _check_references(model: StreamModel, partition: Partition) -> None:
    most = model.config.references
    # without references the frames in flight alone tell a new chunk what goes on
    least = 0 if partition.chunks > 1 else 1
    if not least <= partition.references <= most:
        raise PartitionError(
            "the partition does not fit the model",
            given=str(partition),
            allowed=f"{least} to {most} references for streaming",
            remedy="choose K in that range",
        )


def _can_cache(model: StreamModel, partition: Partition) -> bool:
    is_full = partition.references == model.config.references
    return model.config.causal and model.is_global and is_full
