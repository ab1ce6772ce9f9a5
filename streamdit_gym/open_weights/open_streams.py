"""Streams of an open video model: start from a sentence, a picture or a clip, and steer by prompts.

All streams move as one batch. Everything that a stream is lies here, and nothing in the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from streamdit_gym.errors import NotReadyError, ShapeError
from streamdit_gym.open_weights.open_prompts import OpenPrompts
from streamdit_gym.open_weights.saved_streams import check_saved_streams
from streamdit_gym.open_weights.wan_backbone import WanBackbone
from streamdit_gym.open_weights.wan_codec import FRAMES_PER_LATENT, DecoderMemory, WanCodec
from streamdit_gym.stream.clip import ClipSampler, PromptedFrames
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.session import PROMPT_ENTRIES, Session

Frames = UInt8[Tensor, "b f H W 3"]
MIN_SHOWN = 2  # latents at the start of a stream


@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """An open video model: its parts, and how it streams.

    Attributes:
        backbone: the transformer.
        codec: the autoencoder.
        prompts: embeds sentences.
        partition: how the buffer is cut.
        clip_steps: evaluations for the clip that a stream begins with.
        fps: frames per second of the videos that it has learned.
        name: of the model.
    """

    backbone: WanBackbone
    codec: WanCodec
    prompts: OpenPrompts
    partition: Partition
    clip_steps: int = 30
    fps: float = 16.0
    name: str = "open model"

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of frames."""
        rows, columns = self.backbone.config.grid
        stride = self.codec.stride
        return rows * stride, columns * stride

    @property
    def frames_per_step(self) -> int:
        """How many frames a step of a stream shows."""
        return FRAMES_PER_LATENT * self.partition.chunk_frames


class OpenStreams:
    """Some streams of one model.

    Args:
        model: the model.
        prompt_scope: whether a new prompt conditions new chunks only, or every frame that is still
            in the buffer.
    """

    def __init__(
        self, model: OpenModel, prompt_scope: Literal["chunk", "buffer"] = "chunk"
    ) -> None:
        self.model = model
        self.engine = Engine(
            model.backbone,
            model.prompts,
            model.partition,
            prompt_scope=prompt_scope,
        )
        self._session: Session | None = None
        self._memory = model.codec.new_memory()

    def __len__(self) -> int:
        """Return the number of streams; 0 before `start`."""
        return 0 if self._session is None else len(self._session)

    @property
    def prompt_scope(self) -> Literal["chunk", "buffer"]:
        """Which frames a new prompt conditions; it may change between two steps."""
        return self.engine.prompt_scope

    @prompt_scope.setter
    def prompt_scope(self, scope: Literal["chunk", "buffer"]) -> None:
        self.engine.prompt_scope = scope

    @torch.no_grad()
    def start(
        self, prompts: list[str], seeds: Sequence[int], frames: Frames | None = None
    ) -> Frames:
        """Begin streams, and return their first frames.

        A clip of as many latents as the buffer needs before it is drawn at once; the streams go on
        from there.

        Args:
            prompts: a sentence for each stream.
            seeds: a number for each; equal ones give equal streams.
            frames: what each begins with: a picture (b, 1, H, W, 3), or a clip of 1 + 4 n frames;
                None: nothing but the sentence.

        Raises:
            ShapeError: if there is not one seed, or one clip, for each prompt, or a clip does not
                fit the model.
            ArgumentError: if a prompt is too long.
        """
        self._session, self._memory, first_frames = self._begin(prompts, seeds, frames)
        return first_frames

    @torch.no_grad()
    def restart(
        self,
        rows: Sequence[int],
        prompts: list[str],
        seeds: Sequence[int],
        frames: Frames | None = None,
    ) -> Frames:
        """Begin some of the streams anew, and return their first frames; the others stay.

        Args:
            rows: which streams.
            prompts: a sentence for each of them.
            seeds: a number for each of them.
            frames: what each begins with, as in `start`.

        Raises:
            NotReadyError: before `start`.
            ShapeError, ArgumentError: as `start`; the streams are where they were.
        """
        written = copy.copy(self._started())
        written.noise = written.noise.to(self.engine.device)  # a copy, since rows of it change
        session, memory, first_frames = self._begin(prompts, seeds, frames)
        written.write(rows, session)
        self._session = written
        self._memory = self._memory.with_rows(rows, memory)
        return first_frames

    def _begin(
        self, prompts: list[str], seeds: Sequence[int], frames: Frames | None
    ) -> tuple[Session, DecoderMemory, Frames]:
        """Return new streams, what the decoder remembers of them, and their first frames."""
        if len(seeds) != len(prompts) or (frames is not None and len(frames) != len(prompts)):
            raise ShapeError(
                "each stream needs a prompt and a seed, and a clip if any has one",
                given=f"{len(prompts)} prompts, {len(seeds)} seeds",
                allowed="as many of each",
                remedy="prompts=[...], seeds=range(len(prompts))",
            )
        rows = self.model.prompts.of_texts(prompts).to(self.engine.device)
        noise = Noise.seeded(seeds).to(self.engine.device)
        known = None if frames is None else self.model.codec.encode(frames)
        clip = self._first_clip(rows[:, None], noise, known)
        latency = self.model.partition.latency_frames
        shown = PromptedFrames(
            latents=clip.latents[:, : len(clip) - latency],
            prompts=clip.prompts[:, : len(clip) - latency],
        )
        ahead = clip.last(latency)
        first_frames, memory = self.model.codec.decode(shown.latents, self.model.codec.new_memory())
        session = self.engine.start(shown.latents, shown.prompts, noise, ahead=ahead)
        return session, memory, first_frames

    @torch.no_grad()
    def step(self, prompts: list[str]) -> Frames:
        """Move every stream by a chunk, and return its frames: four for every latent.

        Args:
            prompts: a sentence for each stream, which conditions its new chunk.

        Raises:
            NotReadyError: before `start`.
            ShapeError: if there is not one prompt for each stream.
            ArgumentError: if a prompt is too long; the streams are where they were.
        """
        session = self._started()
        if len(prompts) != len(session):
            raise ShapeError(
                "each stream needs a prompt",
                given=f"{len(prompts)} prompts",
                allowed=f"{len(session)}",
                remedy="repeat the last one for streams that shall go on",
            )
        rows = self.model.prompts.of_texts(prompts)
        moved = copy.copy(session)
        latents = self.engine.tick(moved, rows)
        frames, memory = self.model.codec.decode(latents, self._memory)
        # both or neither: what fails above, or Ctrl-C, leaves the streams where they were
        self._session = moved
        self._memory = memory
        return frames

    def finite(self) -> Bool[Tensor, " b"]:
        """Return which streams' latents are finite; others can never recover.

        Raises:
            NotReadyError: before `start`.
        """
        return self._started().finite()

    def shown_prompts(self) -> list[list[str]]:
        """Return what the newest frames show: of every stream, a sentence for each frame.

        These are the frames of the last step.

        Raises:
            NotReadyError: before `start`.
        """
        newest = self._started().reference_prompts[:, -self.model.partition.chunk_frames :]
        return self._texts(newest.repeat_interleave(FRAMES_PER_LATENT, 1))

    def buffer_prompts(self) -> list[list[str]]:
        """Return what the buffer holds: of every stream, a sentence for each chunk, oldest first.

        Raises:
            NotReadyError: before `start`.
        """
        return self._texts(self._started().buffer.prompts[:, :: self.model.partition.chunk_frames])

    def _texts(self, rows: Int[Tensor, "b n"]) -> list[list[str]]:
        texts = self.model.prompts.texts
        return [[texts[row] for row in of_stream] for of_stream in rows.tolist()]

    def save(self) -> dict[str, Any]:
        """Return all that the streams are, as tensors and texts.

        Raises:
            NotReadyError: before `start`.
        """
        state = self._started().state_dict()
        rows = torch.cat([state[name].flatten() for name in PROMPT_ENTRIES]).unique()
        texts = self.model.prompts.texts
        return {
            "session": state,
            "decoder": list(self._memory.features),
            "texts": {row: texts[row] for row in rows.tolist() if row >= 0},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to what `save` returned, of as many streams of a model with the same weights.

        Raises:
            NotReadyError: before `start`.
            ShapeError: if it does not fit; nothing is changed then.
            ArgumentError: if a sentence or a number cannot be used; nothing is changed then.
        """
        session = self._started()
        texts = check_saved_streams(saved, session, self._memory)
        rows = self.model.prompts.of_texts(list(texts.values()))
        state = dict(saved["session"])
        for name in PROMPT_ENTRIES:
            state[name] = _renumbered(state[name], list(texts), rows)
        memory = DecoderMemory(features=tuple(saved["decoder"]))
        restored = copy.copy(session)  # a branch may share the session
        restored.load_state_dict(state)
        self._session = restored
        self._memory = memory.to(self.engine.device)

    def branch(self, rows: Sequence[int], seeds: Sequence[int] | None = None) -> OpenStreams:
        """Return new streams that go on from these ones.

        Args:
            rows: which stream each goes on from.
            seeds: of their noise; None: that of the streams they go on from.

        Raises:
            NotReadyError: before `start`.
        """
        session = self._started()
        index = list(rows)
        noise = Noise(origins=session.noise.origins[index], drawn=session.noise.drawn[index])
        branched = copy.copy(self)
        branched.engine = copy.copy(self.engine)  # its prompts' scope may change
        branched._session = session.take(rows, noise if seeds is None else Noise.seeded(seeds))
        branched._memory = self._memory.take(rows)
        return branched

    def _first_clip(
        self, rows: Int[Tensor, "b 1"], noise: Noise, known: Float[Tensor, "b n c h w"] | None
    ) -> PromptedFrames:
        """Return what streams begin with, drawn as far as it is not known.

        These are the references and the first chunk, which are shown, and the clean frames that
        the buffer begins with. At least two are shown: after these the decoder's memory has the
        form that it keeps, so that streams of any age are a batch.
        """
        partition = self.model.partition
        num_shown = max(MIN_SHOWN, partition.references + partition.chunk_frames)
        length = num_shown + partition.latency_frames
        start = None
        if known is not None:
            length = max(length, known.shape[1] + partition.latency_frames)
            start = PromptedFrames(latents=known, prompts=rows.expand(-1, known.shape[1]))
        missing = length - (0 if start is None else len(start))
        if missing == 0:
            assert start is not None
            return start
        sampler = ClipSampler(
            self.engine.sampler, clip_frames=missing, micro_steps=self.model.clip_steps
        )
        prompts = rows.expand(-1, missing).contiguous()
        references = None
        if start is not None:
            references = start.last(self.model.backbone.config.references)
        clip = PromptedFrames(latents=sampler.draw(prompts, noise, references), prompts=prompts)
        return clip if start is None else start + clip

    def _started(self) -> Session:
        if self._session is None:
            raise NotReadyError(
                "the streams have not begun",
                given="step, save or branch",
                allowed="after start",
                remedy="streams.start(prompts, seeds)",
            )
        return self._session


def _renumbered(prompts: Tensor, old_rows: list[int], new_rows: Tensor) -> Tensor:
    """Return prompts by the rows that their sentences have in another table."""
    renumbered = prompts.clone()
    for old_row, new_row in zip(old_rows, new_rows.tolist(), strict=True):
        renumbered[prompts == old_row] = new_row
    return renumbered
