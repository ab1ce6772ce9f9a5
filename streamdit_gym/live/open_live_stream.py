"""One endless stream of an open video model, steered by any sentence."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS, check_choice, check_int, check_prompt
from streamdit_gym.errors import ArgumentError, PartitionError
from streamdit_gym.live.live_stream import PROMPT_SCOPES
from streamdit_gym.live.live_stream_state import PromptScope, tensor_bytes
from streamdit_gym.live.stream_frame import BufferSlot, Image, StreamFrame
from streamdit_gym.live.stream_protocol import StreamDescription
from streamdit_gym.open_weights.open_streams import OpenModel, OpenStreams
from streamdit_gym.stream.noise_levels import slot_starts
from streamdit_gym.stream.partition import Partition

log = logging.getLogger("streamdit_gym")

MAX_SEED = 2**63 - 1
FIXED_SETTINGS = ("chunks", "micro_steps", "transition")


@dataclass(frozen=True, kw_only=True)
class OpenMoment:
    """All that a stream needs to return to a moment, in the machine's own memory.

    Attributes:
        streams: what `OpenStreams.save` returned.
        prompt_scope: which chunks a new prompt steers.
        prompt: the newest prompt.
        frame_count: frames shown so far.
        waiting: frames that are generated and not shown yet.
    """

    streams: dict[str, Any]
    prompt_scope: PromptScope
    prompt: str
    frame_count: int
    waiting: list[StreamFrame]

    @property
    def num_bytes(self) -> int:
        """Memory of the tensors and the frames."""
        return tensor_bytes([self.streams, [frame.image for frame in self.waiting]])


class OpenLiveStream:
    """A stream of an open model with its settings and saved states.

    It begins with a clip that is drawn from a sentence. The clip's frames are shown first, a
    chunk's worth at a step.

    Args:
        model: the model; how its buffer is cut cannot change.
        prompt: of the clip that the stream begins with; None: the model's idle sentence.
        prompt_scope: ``"chunk"``: a new prompt steers new chunks only; ``"buffer"``: all chunks in
            the buffer.
        seed: of the noise.

    Raises:
        ArgumentError: if the prompt is longer than the model takes, or a setting is out of range.
    """

    def __init__(
        self,
        model: OpenModel,
        *,
        prompt: str | None = None,
        prompt_scope: PromptScope = "chunk",
        seed: int = 0,
    ) -> None:
        check_choice("prompt_scope", prompt_scope, PROMPT_SCOPES)
        self.model = model
        self.streams = OpenStreams(model, prompt_scope)
        self.transition = 0
        self.frame_count = 0
        self.prompt = ""
        self.set_prompt(model.prompts.texts[0] if prompt is None else prompt)
        self.reset(seed)

    @cached_property
    def description(self) -> StreamDescription:
        """What never changes of the stream."""
        return StreamDescription(
            name=self.model.name,
            frame_size=self.model.frame_size,
            fps=self.model.fps,
            suggestions=[self.prompt],
            fixed_settings=FIXED_SETTINGS,
            max_prompt_chars=MAX_LONG_PROMPT_CHARS,
        )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.streams.engine.device

    @property
    def partition(self) -> Partition:
        """How the buffer is cut."""
        return self.model.partition

    @property
    def prompt_scope(self) -> PromptScope:
        """Which chunks a new prompt steers."""
        return self.streams.prompt_scope

    @property
    def frames_per_step(self) -> int:
        """How many frames a step returns; the first one returns fewer."""
        return self.model.frames_per_step

    @property
    def prompt_delay(self) -> int:
        """How many steps later than the next one a new prompt's first chunk is shown."""
        steps_to_show = -(-len(self._waiting) // self.frames_per_step)
        return self.streams.engine.prompt_delay + steps_to_show

    def reset(self, seed: int = 0) -> None:
        """Start over with a clip of the newest prompt."""
        seed = check_int("seed", seed, least=0, most=MAX_SEED)
        images = self.streams.start([self.prompt], [seed])[0].cpu().numpy()
        prompts = [self.prompt] * len(images)
        self._waiting = self._numbered(list(images), prompts)

    def set_prompt(self, text: str) -> None:
        """Steer the stream with a sentence, from the next chunk on.

        Raises:
            ArgumentError: if the text is no prompt, or longer than the model takes.
        """
        text = check_prompt(text, MAX_LONG_PROMPT_CHARS)
        self.model.prompts.of_texts([text])
        self.prompt = text

    def configure(
        self,
        *,
        partition: Partition | None = None,
        prompt_scope: PromptScope | None = None,
        transition: int | None = None,
    ) -> None:
        """Change which chunks a new prompt steers; nothing else can change.

        Raises:
            PartitionError: if another partition is asked for.
            ArgumentError: if a transition is asked for.
            UnknownNameError: if there is no such scope.
        """
        if partition not in (None, self.partition):
            raise PartitionError(
                "the buffer of an open model stays as it was loaded",
                given=str(partition),
                allowed=str(self.partition),
                remedy=f"start anew with --set partition={partition}",
            )
        if transition not in (None, 0):
            raise ArgumentError(
                "sentences of an open model are not mixed",
                given=f"transition={transition}",
                allowed="0",
                remedy="say what lies between, then what comes after",
            )
        if prompt_scope is not None:
            check_choice("prompt_scope", prompt_scope, PROMPT_SCOPES)
            self.streams.prompt_scope = prompt_scope

    def step(self) -> list[StreamFrame]:
        """Return the next frames, oldest first: of the first clip, or of a new chunk.

        A stream whose latents are no longer finite could never recover: it restarts with the same
        prompt.
        """
        if not self._waiting:
            self._waiting = self._next_frames()
        # the first clip is a frame longer than whole chunks
        count = len(self._waiting) % self.frames_per_step or self.frames_per_step
        frames = self._waiting[:count]
        self._waiting = self._waiting[count:]
        self.frame_count += count
        return frames

    def buffer_slots(self) -> list[BufferSlot]:
        """Return the chunks in the buffer, oldest first."""
        prompts = self.streams.buffer_prompts()[0]
        progress = slot_starts(self.partition).tolist()
        return [
            BufferSlot(prompt=prompt, progress=time)
            for prompt, time in zip(prompts, progress, strict=False)
        ]

    def save_state(self) -> OpenMoment:
        """Return this moment, to restore in this stream or in another of the same model.

        It lies in the machine's memory, whatever the model's device.
        """
        return OpenMoment(
            streams=_on_cpu(self.streams.save()),
            prompt_scope=self.prompt_scope,
            prompt=self.prompt,
            frame_count=self.frame_count,
            waiting=list(self._waiting),
        )

    def restore_state(self, state: OpenMoment) -> None:
        """Return to a moment of this stream, or of another one of the same model."""
        self.streams.restore(state.streams)
        self.streams.prompt_scope = state.prompt_scope
        self.prompt = state.prompt
        self.frame_count = state.frame_count
        self._waiting = list(state.waiting)

    def branch(self) -> OpenLiveStream:
        """Return another stream that is at the same moment and continues independently."""
        branch = copy.copy(self)
        branch.streams = self.streams.branch([0])
        return branch

    def close(self) -> None:
        """Release nothing: the model belongs to whoever loaded it."""

    def _next_frames(self) -> list[StreamFrame]:
        """Return the frames of a new chunk, or of a new first clip if the latents are broken."""
        images = self.streams.step([self.prompt])[0].cpu().numpy()
        if bool(self.streams.finite().all()):
            return self._numbered(list(images), self.streams.shown_prompts()[0])
        log.warning("the latents of the stream are not finite: it restarts")
        self.reset(self.frame_count)
        return [replace(frame, restarted=True) for frame in self._waiting]

    def _numbered(self, images: list[Image], prompts: list[str]) -> list[StreamFrame]:
        """Return images as the stream's next frames."""
        return [
            StreamFrame(
                number=self.frame_count + place + 1,
                image=image,
                prompt=prompt,
                readout={},
                simulator_image=None,
                simulator_action=None,
            )
            for place, (image, prompt) in enumerate(zip(images, prompts, strict=True))
        ]


def _on_cpu(value: Any) -> Any:
    """Return a saved state with its tensors in the machine's memory."""
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {name: _on_cpu(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_cpu(part) for part in value)
    return value
