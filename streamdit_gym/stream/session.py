"""All state of some streams, one row per stream.

Takes: rows.  Gives: the same rows cut, replaced, saved, restored.  Knows nothing of: weights.

A row's noise comes from its own sequence, so it depends on neither the batch nor the row's place in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from streamdit_gym.buffer.moving_buffer import MovingBuffer
from streamdit_gym.model.key_value_cache import KeyValueCache
from streamdit_gym.stream.noise import Noise


@dataclass(kw_only=True)
class Session:
    """State of b streams; the engine replaces the tensors at every tick.

    Attributes:
        references: the last K + c clean latents of every stream, oldest first, as the model is fed them.
        reference_prompts: the prompts they were born with.
        buffer: the frames being denoised.
        cache: keys and values of the references before the newest chunk; None for models without cache.
        noise: where the streams' noise comes from.
    """

    references: Float[Tensor, "b f c h w"]
    reference_prompts: Int[Tensor, "b f"]
    buffer: MovingBuffer
    cache: KeyValueCache | None
    noise: Noise

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self.references)

    def draw(self, frames: int) -> Float[Tensor, "b f c h w"]:
        """Draw standard normal latents, every row from its own sequence."""
        return self.noise.draw((frames, *self.references.shape[2:])).to(self.references)

    def take(self, rows: Sequence[int], noise: Noise) -> Session:
        """Return a session of copies of some rows, any of them any number of times, with noise of their own."""
        index = torch.as_tensor(list(rows), device=self.references.device)
        buffer = self.buffer
        return Session(
            references=self.references[index], reference_prompts=self.reference_prompts[index],
            buffer=MovingBuffer(partition=buffer.partition, latents=buffer.latents[index], prompts=buffer.prompts[index]),
            cache=None if self.cache is None else self.cache.each(lambda part: part[index]), noise=noise.to(index.device),
        )  # fmt: skip

    def write(self, rows: Sequence[int], other: Session) -> None:
        """Replace some rows by the rows of another session; the other rows' numbers are not touched."""
        index = torch.as_tensor(list(rows), device=self.references.device)
        self.references = self.references.index_copy(0, index, other.references)
        self.reference_prompts = self.reference_prompts.index_copy(0, index, other.reference_prompts)
        self.buffer = MovingBuffer(
            partition=self.buffer.partition,
            latents=self.buffer.latents.index_copy(0, index, other.buffer.latents),
            prompts=self.buffer.prompts.index_copy(0, index, other.buffer.prompts),
        )
        if self.cache is not None and other.cache is not None:
            fresh = iter(other.cache.tensors())
            self.cache = self.cache.each(lambda part: part.index_copy(0, index, next(fresh)))
        self.noise.write(index, other.noise)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything, as tensors."""
        return {
            "references": self.references.clone(),
            "reference_prompts": self.reference_prompts.clone(),
            "buffer": self.buffer.latents.clone(),
            "buffer_prompts": self.buffer.prompts.clone(),
            "cache": None if self.cache is None else self.cache.each(torch.clone).layers,
            "noise": (self.noise.origins.clone(), self.noise.drawn.clone()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state, of any device; the number of streams must be the same."""

        def own(saved: Tensor) -> Tensor:
            return saved.to(self.references.device, copy=True)

        self.cache = None if state["cache"] is None else KeyValueCache(layers=state["cache"]).each(own)
        self.buffer = MovingBuffer(partition=self.buffer.partition, latents=own(state["buffer"]), prompts=own(state["buffer_prompts"]))
        self.noise = Noise(origins=own(state["noise"][0]), drawn=own(state["noise"][1]))
        self.reference_prompts, self.references = own(state["reference_prompts"]), own(state["references"])
