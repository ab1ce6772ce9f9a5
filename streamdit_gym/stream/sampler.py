"""The denoising loop: a moving buffer takes the micro steps of a move, with or without a cache.

Source: StreamDiT (arXiv 2507.03745), sections 3.1 and 3.2.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from streamdit_gym.model.key_value_cache import KeyValueCache
from streamdit_gym.model.precision import precision
from streamdit_gym.stream.flow import euler_step, point
from streamdit_gym.stream.model_protocol import StreamModel
from streamdit_gym.stream.noise_levels import equal_times, sampling_times, shifted
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.prepared_prompts import prepared_source
from streamdit_gym.stream.session import Session
from streamdit_gym.stream.views import cached_view, stream_view
from streamdit_gym.text.prompt_protocol import PromptSource
from streamdit_gym.types import BufferView

Latents = Float[Tensor, "b f c h w"]
Times = Float[Tensor, "b f"]
# prompts of the frames that a view shows, its context among them
SeenPrompts = Int[Tensor, "b s"] | Float[Tensor, "b s d"]
Evaluate = Callable[..., tuple[Latents, KeyValueCache]]
# Latents are clamped to this range. Those of recordings reach 6.7 in the shipped worlds, 13.5 where
# they are standardised and little moves; a latent much farther out would feed on itself.
MAX_ABS_LATENT = 16.0


class Sampler:
    """Denoises the buffers of sessions with one model.

    Args:
        model: the transformer.
        source: embeds the sessions' prompts.
        partition: how the buffer is cut.
        autocast: run the model in bfloat16.
        compiled: compile the model (with CUDA graphs on a GPU).

    Attributes:
        evaluate: returns velocities and the longer cache, as `StreamDiT.forward` does.
    """

    def __init__(
        self,
        model: StreamModel,
        source: PromptSource,
        partition: Partition,
        *,
        autocast: bool,
        compiled: bool,
    ) -> None:
        self.model = with_bfloat16_matrices(model) if autocast else model
        self.source = source
        self.partition = partition
        self.autocast = autocast
        self.is_compiled = compiled
        self.device = next(model.parameters()).device
        self.prepared = prepared_source(self.model, source, compiled=compiled)
        self.evaluate: Evaluate = self.compile(self.model.forward)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function compiled as the model is, or as it is if the model is not compiled.

        On a GPU it is recorded as a CUDA graph: its result is overwritten when anything compiled is
        called next.
        """
        if not self.is_compiled:
            return function
        mode = "reduce-overhead" if self.device.type == "cuda" else None
        return torch.compile(function, mode=mode)

    def with_partition(self, partition: Partition) -> Sampler:
        """Return a sampler of the same model with a buffer that is cut otherwise, not compiled."""
        sampler = copy.copy(self)
        sampler.partition = partition
        sampler.is_compiled = False
        sampler.evaluate = sampler.model.forward
        return sampler

    def denoise(self, session: Session, start_time: float = 0.0) -> None:
        """Take the s micro steps of a move, all chunks in lock-step.

        Args:
            session: the streams; their buffer and their cache change.
            start_time: noise level at which the newest chunk starts, if it is the only one.
        """
        partition = self.partition
        steps = partition.micro_steps
        time_left = 1 - start_time
        dt = time_left / (steps * partition.chunks)
        for step in range(steps):
            equal_steps = start_time + time_left * sampling_times(partition, step)
            equal_steps = equal_steps.to(self.device)
            times, step_size = self._noise_levels(equal_steps, dt)
            times = times.expand(len(session), -1)
            if session.cache is None:
                velocity = self._velocity(session, times)
            else:
                velocity = self._cached_velocity(session, session.cache, times, step)
            buffer = session.buffer
            latents = euler_step(buffer.latents, velocity, step_size)
            latents = latents.clamp(-MAX_ABS_LATENT, MAX_ABS_LATENT)
            session.buffer = buffer.with_latents(latents)

    def _noise_levels(
        self, equal_steps: Float[Tensor, " f"], dt: float
    ) -> tuple[Float[Tensor, " f"], float | Float[Tensor, "f 1 1 1"]]:
        """Return the frames' noise levels after so many equal steps, and how far one more leads."""
        shift = self.model.time_shift
        if shift == 1:
            return equal_steps, dt
        times = shifted(equal_steps, shift)
        next_times = shifted(equal_steps + dt, shift)
        return times, (next_times - times)[:, None, None, None]

    def initial_noise(self, session: Session, frames: int) -> Latents:
        """Draw the noise that chunks start with."""
        noise = session.draw(frames)
        return self.model.config.temperature * noise

    def as_reference(self, clean: Latents, session: Session) -> Latents:
        """Return clean frames at the noise level of references; noise is drawn only if needed."""
        if self.model.config.reference_time == 1:
            return clean
        frames = clean.shape[1]
        noise = session.draw(frames)
        return point(clean, noise, self._reference_times(clean))

    def prefill(self, session: Session) -> KeyValueCache:
        """Return keys and values of the references before the newest chunk."""
        references = self.partition.references
        frames = session.references[:, 1:references]
        if frames.shape[1] == 0:
            return self.model.empty_cache(len(session))
        before = session.references[:, :1]
        no_frames = frames[:, :0]
        view = cached_view(
            frames,
            self._reference_times(frames),
            no_frames,
            self._reference_times(no_frames),
            before,
            self._reference_times(before),
            cached=0,
            chunk_frames=1,
            limit=self.model.config.references,
        )
        _, cache = self._predict_clean(view, session.reference_prompts[:, 1:references])
        return cache.each(contiguous_copy)

    def predict_newest(self, session: Session, noise: Latents, time: float) -> Latents:
        """Return the newest chunk as the model predicts it from a noisy copy of itself.

        Args:
            session: the streams; they do not change.
            noise: the copy's noise.
            time: the copy's noise level.
        """
        chunk = self.partition.chunk_frames
        frames = self.partition.references + chunk
        history = session.references[:, -frames:]
        prompts = session.reference_prompts[:, -frames:]
        before = history[:, :-chunk]
        newest = history[:, -chunk:]
        times = equal_times(newest, time)
        noisy = point(newest, noise, times)
        view = self._view(before, noisy, times)
        clean, _ = self._predict_clean(view, prompts)
        return clean.float()

    def _velocity(self, session: Session, times: Times) -> Latents:
        """Evaluate the model on references and buffer together."""
        count = self.partition.references
        buffer = session.buffer
        first = session.references.shape[1] - count  # K = 0: none
        references = session.references[:, first:]
        reference_prompts = session.reference_prompts[:, first:]
        view = self._view(references, buffer.latents, times)
        prompts = [reference_prompts, buffer.prompts]
        velocity, _ = self._evaluate(view, torch.cat(prompts, 1), None)
        return velocity

    def _cached_velocity(
        self, session: Session, cache: KeyValueCache, times: Times, step: int
    ) -> Latents:
        """Evaluate the model on the newest references and the buffer, behind the cache.

        The cache grows: the first micro step of a move adds the newest chunk of references.
        """
        partition = self.partition
        buffer = session.buffer
        last = session.references.shape[1]
        if step == 0:
            last -= partition.chunk_frames
        newest = session.references[:, last:]
        before = session.references[:, last - 1 : last]
        view = cached_view(
            newest,
            self._reference_times(newest),
            buffer.latents,
            times,
            before,
            self._reference_times(before),
            cached=cache.frames,
            chunk_frames=partition.chunk_frames,
            limit=self.model.config.references,
        )
        prompts = [session.reference_prompts[:, last:], buffer.prompts]
        velocity, longer_cache = self._evaluate(view, torch.cat(prompts, 1), cache)
        # later evaluations look at as many references as this one; the first one of the next move
        # adds one chunk to K - 1
        is_last = step + 1 == partition.micro_steps
        cache = longer_cache.last(partition.references - is_last)
        if self.is_compiled:
            # laid out as a fresh session's cache, or the first tick would be compiled, and on a
            # GPU recorded, apart from later ones; there a recording also overwrites its results
            cache = cache.each(contiguous_copy)
        session.cache = cache
        return velocity

    def _evaluate(
        self, view: BufferView, prompts: SeenPrompts, cache: KeyValueCache | None
    ) -> tuple[Latents, KeyValueCache]:
        conditioning = self.source.conditioning(prompts)
        with self._precision():
            prepared = self.prepared.of(conditioning)
            velocity, longer_cache = self.evaluate(view, conditioning, cache, 0.0, prepared)
        return velocity.float(), longer_cache

    def _predict_clean(
        self, view: BufferView, prompts: SeenPrompts
    ) -> tuple[Latents, KeyValueCache]:
        conditioning = self.source.conditioning(prompts)
        with self._precision():
            prepared = self.prepared.of(conditioning)
            return self.model.predict_clean(view, conditioning, None, prepared)

    def _view(
        self, references: Float[Tensor, "b k c h w"], frames: Latents, times: Times
    ) -> BufferView:
        """Lay out references and the frames behind them."""
        return stream_view(
            references,
            self._reference_times(references),
            frames,
            times,
            causal=self.model.config.causal,
            chunk_frames=self.partition.chunk_frames,
            limit=self.model.config.references,
        )

    def _reference_times(self, frames: Latents) -> Times:
        return equal_times(frames, self.model.config.reference_time)

    def _precision(self) -> AbstractContextManager[None]:
        return precision(self.device, self.autocast)


def with_bfloat16_matrices(model: StreamModel) -> StreamModel:
    """Return a copy with the matrices that autocast would otherwise convert at every tick."""
    converted = copy.deepcopy(model)
    for module in converted.modules():
        if isinstance(module, nn.Linear):
            module.to(torch.bfloat16)
    return converted


def contiguous_copy(part: Tensor) -> Tensor:
    """Return a copy that is no view and has no gaps."""
    return part.clone(memory_format=torch.contiguous_format)
