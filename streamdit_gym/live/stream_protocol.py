"""What sessions, films and the page take from a stream, whatever generates its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch

from streamdit_gym.checks import MAX_PROMPT_CHARS
from streamdit_gym.definition import WorldSpec
from streamdit_gym.live.live_stream_state import PromptScope
from streamdit_gym.live.stream_frame import BufferSlot, StreamFrame
from streamdit_gym.live.stream_prompts import buttons_of, direction_prompts, sliders_of
from streamdit_gym.stream.partition import Partition

MAX_SUGGESTIONS = 32  # phrases of the training data, beside the menu's
MAX_PHRASES_PER_ACTION = 12


@dataclass(frozen=True, kw_only=True)
class StreamDescription:
    """What never changes of a stream.

    Attributes:
        name: of the world or model that it shows.
        frame_size: height and width of its frames.
        fps: its own frames per second.
        menu: prompts that viewers choose by a button.
        suggestions: prompts that are offered while one is typed.
        directions: prompts of the arrow keys, where the menu's do not name their directions.
        dimensions: what the sliders of continuous actions look like.
        has_simulator: whether a simulator's frames are shown beside its own.
        fixed_settings: names of settings that cannot be changed while it runs.
        max_prompt_chars: of a prompt.
    """

    name: str
    frame_size: tuple[int, int]
    fps: float
    menu: Sequence[str] = ()
    suggestions: Sequence[str] = ()
    directions: Mapping[str, str] = field(default_factory=dict)
    dimensions: Sequence[Mapping[str, Any]] = ()
    has_simulator: bool = False
    fixed_settings: Sequence[str] = ()
    max_prompt_chars: int = MAX_PROMPT_CHARS


def describe_world(spec: WorldSpec, *, has_simulator: bool) -> StreamDescription:
    """Return the description of a world's streams."""
    buttons = buttons_of(spec.actions)
    menu_phrases = [phrase for phrases in spec.menu for phrase in phrases[:MAX_PHRASES_PER_ACTION]]
    stride = len(spec.also) // MAX_SUGGESTIONS + 1
    return StreamDescription(
        name=spec.name,
        frame_size=spec.frame_size,
        fps=spec.fps,
        menu=buttons,
        suggestions=[*(menu_phrases or buttons), *spec.also[::stride]],
        directions=direction_prompts(spec.actions),
        dimensions=sliders_of(spec.actions),
        has_simulator=has_simulator,
    )


@runtime_checkable
class Moment(Protocol):
    """A moment of a stream, to return to."""

    @property
    def frame_count(self) -> int:
        """Frames generated until then."""

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""


@runtime_checkable
class SteeredStream(Protocol):
    """An endless stream whose prompt and settings may change between two steps."""

    frame_count: int
    prompt: str
    transition: int

    @property
    def description(self) -> StreamDescription:
        """What never changes of it."""

    @property
    def device(self) -> torch.device:
        """Where its model is."""

    @property
    def partition(self) -> Partition:
        """How its buffer is cut."""

    @property
    def prompt_scope(self) -> PromptScope:
        """Which chunks a new prompt steers."""

    @property
    def prompt_delay(self) -> int:
        """How many steps later than the next one a new prompt's first chunk is shown."""

    @property
    def frames_per_step(self) -> int:
        """How many frames a step returns; the first one may return fewer."""

    def reset(self, seed: int = 0) -> None:
        """Start over; the prompt stays."""

    def set_prompt(self, text: str) -> None:
        """Steer the stream with a prompt, from the next chunk on."""

    def configure(
        self,
        *,
        partition: Partition | None = None,
        prompt_scope: PromptScope | None = None,
        transition: int | None = None,
    ) -> None:
        """Change settings."""

    def step(self) -> list[StreamFrame]:
        """Generate one chunk and return its frames, oldest first."""

    def buffer_slots(self) -> list[BufferSlot]:
        """Return the chunks in the buffer, oldest first."""

    def save_state(self) -> Moment:
        """Return this moment."""

    def restore_state(self, state: Any) -> None:
        """Return to a moment of this stream."""

    def branch(self) -> SteeredStream:
        """Return another stream that is at the same moment and continues independently."""

    def close(self) -> None:
        """Release what it holds beside its model."""
