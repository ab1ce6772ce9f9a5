"""Clips drawn at once: the partition N = 1, c = B of the paper, ordinary clip generation.

All frames of a clip share a noise level and become clean together, so each is drawn with those
behind it. Nothing has to be played in time: a clip takes many micro steps.
Source: StreamDiT (arXiv 2507.03745), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.errors import PartitionError, ShapeError
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import Sampler
from streamdit_gym.stream.self_consistency import second_prediction_error
from streamdit_gym.stream.session import Session
from streamdit_gym.stream.stream_checks import check_frames, check_shape
from streamdit_gym.text.prompt_protocol import Prompts

CLIP_FRAMES = 8  # of the clips that recipes train on
MICRO_STEPS = 16  # as many as the paper's teacher takes for a chunk


@dataclass(frozen=True, kw_only=True)
class PromptedFrames:
    """Frames of some streams.

    Attributes:
        latents: of the frames, oldest first.
        prompts: that each frame is conditioned on.
    """

    latents: Float[Tensor, "b f c h w"]
    prompts: Prompts

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.latents.shape[1]

    def __add__(self, later: PromptedFrames) -> PromptedFrames:
        """Return these frames with later ones behind them."""
        return PromptedFrames(
            latents=torch.cat([self.latents, later.latents], 1),
            prompts=torch.cat([self.prompts, later.prompts], 1),
        )

    def last(self, count: int) -> PromptedFrames:
        """Return the last frames, at most so many."""
        first = max(0, len(self) - count)
        return PromptedFrames(latents=self.latents[:, first:], prompts=self.prompts[:, first:])


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip of each stream.

    Attributes:
        frames: the clean frames that were drawn.
        references: the frames before them that the model has seen, at the noise level of
            references; none in a clip from noise alone.
    """

    frames: PromptedFrames
    references: PromptedFrames


class ClipSampler:
    """Draws clips with one model.

    A clip has no more frames than recipes train on, unless told otherwise. More frames than that
    are drawn as several clips: the references of each are the last frames of those before it, as
    many as the model takes.

    Args:
        sampler: of the model; its partition does not matter.
        clip_frames: c, most frames in a clip.
        micro_steps: s, evaluations of the model per clip.

    Raises:
        PartitionError: if a number is out of range.
    """

    def __init__(
        self, sampler: Sampler, *, clip_frames: int = CLIP_FRAMES, micro_steps: int = MICRO_STEPS
    ) -> None:
        Partition(references=0, chunk_frames=clip_frames, micro_steps=micro_steps)
        self.sampler = sampler
        self.clip_frames = clip_frames
        self.micro_steps = micro_steps

    def draw(
        self, prompts: Prompts, noise: Noise, start: PromptedFrames | None = None
    ) -> Float[Tensor, "b f c h w"]:
        """Return the clean latents of `clips`, one behind the other."""
        clips = self.clips(prompts, noise, start)
        return torch.cat([clip.frames.latents for clip in clips], 1)

    @torch.no_grad()
    def clips(
        self, prompts: Prompts, noise: Noise, start: PromptedFrames | None = None
    ) -> Iterator[Clip]:
        """Yield the clips of some streams, one after the other.

        Args:
            prompts: a prompt for every frame that is drawn.
            noise: a sequence for each stream. Noise is drawn from these very sequences, so what is
                drawn from them next is new.
            start: clean frames that the clips go on from, the K references of the first one; None:
                the first clip is drawn from its noise and prompts alone.

        Raises:
            ShapeError: if prompts, noise or first frames do not fit the model, or each other.
            PartitionError: if there are more first frames than the model takes as references, or
                several clips and the model takes none.
        """
        self._check(prompts, noise, start)
        before = self._no_frames(prompts) if start is None else start
        before = self._on_device(before)
        most = self.sampler.model.config.references
        for of_clip in prompts.to(self.sampler.device).split(self.clip_frames, dim=1):
            clip = self._draw_one(of_clip, noise, before)
            yield clip
            before = (before + clip.frames).last(most)

    @torch.no_grad()
    def self_consistency_error(self, clip: Clip) -> Float[Tensor, " b"]:
        """Return how far a second prediction of a clip is from the first.

        It is that of streams, of a whole clip; see `streamdit_gym.stream.self_consistency`.
        """
        frames = clip.frames
        sampler = self._sampler_of(clip.references, len(frames))
        no_noise = Noise.seeded(range(len(frames.latents)))  # the second one has noise of its own
        session = self._session(sampler, clip.references + frames, frames, no_noise)
        return second_prediction_error(sampler, session)

    def _draw_one(self, prompts: Prompts, noise: Noise, before: PromptedFrames) -> Clip:
        """Draw a clip behind clean frames."""
        count = prompts.shape[1]
        sampler = self._sampler_of(before, count)
        empty = self._no_frames(prompts)
        session = self._session(sampler, before, empty, noise)
        session.references = sampler.as_reference(before.latents, session)
        session.buffer = session.buffer.push(sampler.initial_noise(session, count), prompts)
        sampler.denoise(session)
        return Clip(
            frames=PromptedFrames(latents=session.buffer.latents, prompts=prompts),
            references=PromptedFrames(latents=session.references, prompts=before.prompts),
        )

    def _sampler_of(self, references: PromptedFrames, frames: int) -> Sampler:
        """Return a sampler of clips with so many frames, behind references."""
        partition = Partition(
            references=len(references), chunk_frames=frames, micro_steps=self.micro_steps
        )
        return self.sampler.with_partition(partition)

    def _session(
        self, sampler: Sampler, references: PromptedFrames, frames: PromptedFrames, noise: Noise
    ) -> Session:
        """Return streams whose buffer holds some frames, at most one clip."""
        buffer = MovingBuffer(
            partition=sampler.partition, latents=frames.latents, prompts=frames.prompts
        )
        return Session(
            references=references.latents,
            reference_prompts=references.prompts,
            buffer=buffer,
            cache=None,
            noise=noise,
        )

    def _no_frames(self, prompts: Prompts) -> PromptedFrames:
        """Return no frames of as many streams."""
        config = self.sampler.model.config
        shape = (len(prompts), 0, config.channels, *config.grid)
        latents = torch.zeros(shape, dtype=torch.float32, device=self.sampler.device)
        return PromptedFrames(latents=latents, prompts=prompts[:, :0])

    def _on_device(self, frames: PromptedFrames) -> PromptedFrames:
        device = self.sampler.device
        return PromptedFrames(latents=frames.latents.to(device), prompts=frames.prompts.to(device))

    def _check(self, prompts: Prompts, noise: Noise, start: PromptedFrames | None) -> None:
        source = self.sampler.source
        config = self.sampler.model.config
        if prompts.ndim < 2 or prompts.shape[1] == 0:
            raise ShapeError(
                "prompts of clips do not fit",
                given=tuple(prompts.shape),
                allowed=f"(b, f >= 1{''.join(f', {size}' for size in source.prompt_shape)})",
                remedy="give a prompt for every frame of every clip",
            )
        check_shape("prompts", prompts.shape[2:], source.prompt_shape)
        check_shape("sequences of noise", (len(noise),), prompts.shape[:1])
        num_references = 0
        if start is not None:
            check_frames(start.latents, start.prompts, config, source)
            check_shape("first frames", start.latents.shape[:1], prompts.shape[:1])
            num_references = len(start)
        has_next = prompts.shape[1] > self.clip_frames
        if num_references > config.references or (has_next and config.references == 0):
            raise PartitionError(
                "the model takes fewer references than such clips need",
                given=f"{num_references} first frames, {prompts.shape[1]} frames to draw",
                allowed=f"{config.references} references",
                remedy="give fewer first frames, or longer clips",
            )
