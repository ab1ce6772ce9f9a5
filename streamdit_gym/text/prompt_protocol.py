"""What the engine and training need of a world's prompts: a table of texts, or values of a box."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from streamdit_gym.types import Conditioning

# Prompts are rows of a table of texts, or positions among a box's words: one of them, one for each
# stream, one for each frame.
Prompt = Shaped[Tensor, " *d"]
PromptRow = Shaped[Tensor, "b *d"]
Prompts = Int[Tensor, "b f"] | Float[Tensor, "b f d"]
NewPrompts = Int[Tensor, "b 1"] | Float[Tensor, "b 1 d"]


@runtime_checkable
class PromptSource(Protocol):
    """Turns prompts, given as numbers, into the embeddings that frames are conditioned on.

    A prompt is one whole number, a row of a `PromptTable`, or the positions of a `SpokenTable`.
    """

    @property
    def prompt_shape(self) -> tuple[int, ...]:
        """Shape of one prompt."""

    @property
    def idle_prompt(self) -> Prompt:
        """The prompt of streams that nobody has prompted yet."""

    @property
    def no_prompt(self) -> Prompt:
        """The prompt of frames that are conditioned on none."""

    def of_texts(self, texts: list[str]) -> PromptRow:
        """Return the prompts that texts mean.

        Raises:
            ShapeError: if a text is empty, or there is no room for it.
            ArgumentError: if a text has more tokens than the encoder takes.
            MissingExtraError: if a new text needs an encoder that is not installed.
        """

    def conditioning(self, prompts: Prompts) -> Conditioning:
        """Return the embeddings of every frame's prompt."""

    def distinct(self, prompts: Prompts) -> Conditioning:
        """Return the embeddings of the prompts that occur, and of no others."""

    def to(self, device: str, dtype: torch.dtype) -> PromptSource:
        """Return these prompts on a device, with embeddings of a dtype."""
