"""Streams of the student under way, one set for each partition."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from streamdit_gym.recipes.distillation_settings import Distillation
from streamdit_gym.stream.flow import point
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise_levels import sampling_times
from streamdit_gym.stream.partition import Partition
from streamdit_gym.text.prompt_protocol import Prompts
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.rollout_windows import Corruption


@dataclass(frozen=True, kw_only=True)
class StudentStreams:
    """Streams of one partition under way.

    Attributes:
        episode: the recorded episode whose prompts a stream follows.
        place: the frame of it that the next chunk begins with.
        references: the last K clean frames.
        reference_prompts: their prompts.
        buffer: the N - 1 chunks in flight.
    """

    episode: Int[Tensor, " b"]
    place: Int[Tensor, " b"]
    references: Float[Tensor, "b k c h w"]
    reference_prompts: Prompts
    buffer: MovingBuffer

    def with_clean(self, clean: Tensor, prompts: Tensor) -> StudentStreams:
        """Return the streams with more clean frames as their newest references."""
        num_references = self.references.shape[1]
        frames = torch.cat([self.references, clean], 1)
        frame_prompts = torch.cat([self.reference_prompts, prompts], 1)
        return replace(
            self,
            references=frames[:, -num_references:],
            reference_prompts=frame_prompts[:, -num_references:],
        )

    def advanced(self, buffer: MovingBuffer) -> StudentStreams:
        """Return the streams after a move: the oldest chunk of a buffer leaves it, clean."""
        clean, prompts, rest = buffer.pop()
        streams = self.with_clean(clean, prompts)
        return replace(streams, place=self.place + clean.shape[1], buffer=rest)


class StreamSampler:
    """Continue streams, or restart them from recorded frames.

    Args:
        episodes: where streams start, and whose prompts they follow.
        settings: of the distillation.
        device: where the streams are.
        temperature: scale of the noise of the student's chunks.
        corruption: of references; None: never.
    """

    def __init__(
        self,
        episodes: LatentEpisodes,
        settings: Distillation,
        device: str,
        temperature: float,
        corruption: Corruption | None,
    ) -> None:
        self.episodes = episodes
        self.settings = settings
        self.device = device
        self.temperature = temperature
        self.corruption = corruption
        self.generator = torch.Generator().manual_seed(0)

    def next(self, partition: Partition, streams: StudentStreams | None) -> StudentStreams:
        """Return a partition's streams; those that end or do not go on are restarted."""
        restarted = self._restarted(partition)
        if streams is None:
            return restarted
        chance = torch.rand(len(restarted.episode), generator=self.generator)
        chosen = chance < self.settings.continue_probability
        end = streams.place + partition.chunk_frames
        has_next = end <= self.episodes.lengths[streams.episode]
        continues = chosen & has_next
        return _select(continues, streams, restarted)

    def corrupted(self, streams: StudentStreams) -> StudentStreams:
        """Return the streams, the references of some of them corrupted."""
        count = len(streams.episode)
        chance = torch.rand(count, generator=self.generator)
        chosen = chance < self.settings.corruption_probability
        chosen = chosen.to(self.device)
        if self.corruption is None or not chosen.any():
            return streams
        references = streams.references.clone()
        corrupted = self.corruption(references[chosen])
        references[chosen] = corrupted
        return replace(streams, references=references)

    def prompts(self, streams: StudentStreams, frames: int) -> Prompts:
        """Return the prompts of the streams' next frames."""
        prompts = self.episodes.prompts
        rows = streams.episode[:, None]
        places = streams.place[:, None] + torch.arange(frames)
        index = (rows.to(prompts.device), places.to(prompts.device))
        next_prompts = prompts[index]
        return next_prompts.to(self.device)

    def _restarted(self, partition: Partition) -> StudentStreams:
        num_references = partition.references
        in_flight = partition.frames - partition.chunk_frames
        index = self.episodes.sample(
            self.settings.streams, num_references + partition.frames, self.generator
        )
        frames, prompts = self.episodes.clips(index, num_references + in_flight)
        frames = frames.to(self.device, torch.float32)
        prompts = prompts.to(self.device)
        recorded = frames[:, num_references:]
        chunk_times = sampling_times(partition, 0)[:in_flight]
        times = chunk_times.to(self.device).expand(len(frames), -1)
        noise = self.temperature * torch.randn_like(recorded)
        buffer = MovingBuffer(
            partition=partition,
            latents=point(recorded, noise, times),
            prompts=prompts[:, num_references:],
        )
        return StudentStreams(
            episode=index.episode,
            place=index.start + num_references + in_flight,
            references=frames[:, :num_references],
            reference_prompts=prompts[:, :num_references],
            buffer=buffer,
        )


def _select(
    continues: Tensor, streams: StudentStreams, restarted: StudentStreams
) -> StudentStreams:
    """Return the streams that go on, and restarted ones in the place of the others."""

    def choose(old: Tensor, new: Tensor) -> Tensor:
        other_axes = [1] * (old.ndim - 1)
        mask = continues.to(old.device)
        mask = mask.reshape(-1, *other_axes)
        return torch.where(mask, old, new)

    old_buffer = streams.buffer
    new_buffer = restarted.buffer
    buffer = replace(
        old_buffer,
        latents=choose(old_buffer.latents, new_buffer.latents),
        prompts=choose(old_buffer.prompts, new_buffer.prompts),
    )
    return StudentStreams(
        episode=choose(streams.episode, restarted.episode),
        place=choose(streams.place, restarted.place),
        references=choose(streams.references, restarted.references),
        reference_prompts=choose(streams.reference_prompts, restarted.reference_prompts),
        buffer=buffer,
    )
