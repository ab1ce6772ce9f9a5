"""All state of some streams, one row per stream.

Takes: rows.  Gives: the same rows cut, replaced, saved, restored.  Knows nothing of: weights.

A row's noise comes from its own sequence, so it depends on neither the batch nor the row's place in
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.model.key_value_cache import KeyValueCache
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.saved import check_keys, check_list, check_tensor

ENTRIES = ("references", "reference_prompts", "buffer", "buffer_prompts", "cache", "noise")
MOST_DRAWN = 2**62  # pairs of noise; far beyond any stream, and far from an overflow


@dataclass(kw_only=True)
class Session:
    """State of b streams; the engine replaces the tensors at every tick.

    Attributes:
        references: the last K + c clean latents of every stream, oldest first, as the model is fed
            them.
        reference_prompts: the prompts they were born with.
        buffer: the frames being denoised.
        cache: keys and values of the references before the newest chunk; None for models without
            cache.
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
        """Return a session of copies of some rows, any of them any number of times,
        with noise of their own.
        """
        index = torch.as_tensor(list(rows), device=self.references.device)
        buffer = self.buffer
        return Session(
            references=self.references[index],
            reference_prompts=self.reference_prompts[index],
            buffer=MovingBuffer(
                partition=buffer.partition,
                latents=buffer.latents[index],
                prompts=buffer.prompts[index],
            ),
            cache=None if self.cache is None else self.cache.each(lambda part: part[index]),
            noise=noise.to(index.device),
        )

    def write(self, rows: Sequence[int], other: Session) -> None:
        """Replace some rows by the rows of another session;
        the other rows' numbers are not touched.
        """
        index = torch.as_tensor(list(rows), device=self.references.device)
        self.references = self.references.index_copy(0, index, other.references)
        self.reference_prompts = self.reference_prompts.index_copy(
            0, index, other.reference_prompts
        )
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

    def check_state_dict(self, state: Any, finite: Bool[np.ndarray, " b"] | None = None) -> None:
        """Refuse what is no state of as many streams of this kind; nothing is changed.

        Args:
            state: what `state_dict` returned, of any device.
            finite: which streams' numbers must be finite; None: all of them.

        Raises:
            ShapeError: if an entry is missing, or has another type, shape or dtype.
            ArgumentError: if numbers are not finite, or out of range.
        """
        own = self._tensors()
        given = _tensors_of(state, 0 if self.cache is None else len(self.cache.layers))
        for name, like in own.items():
            least = {"reference_prompts": -1, "buffer_prompts": -1, "noise drawn": 0}.get(name)
            most = MOST_DRAWN if name == "noise drawn" else None
            check_tensor(name, given[name], like, finite=finite, least=least, most=most)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state, of any device; see `check_state_dict` for its errors,
        which change nothing.
        """
        self.check_state_dict(state, np.zeros(len(self), dtype=bool))
        layers = 0 if self.cache is None else len(self.cache.layers)
        own = {
            name: saved.detach().to(self.references.device, copy=True)
            for name, saved in _tensors_of(state, layers).items()
        }
        cached = [(own[f"keys {layer}"], own[f"values {layer}"]) for layer in range(layers)]
        self.cache = None if self.cache is None else KeyValueCache(layers=tuple(cached))
        self.buffer = replace(self.buffer, latents=own["buffer"], prompts=own["buffer_prompts"])
        self.noise = Noise(origins=own["noise origins"], drawn=own["noise drawn"])
        self.reference_prompts = own["reference_prompts"]
        self.references = own["references"]

    def finite(self) -> Bool[Tensor, " b"]:
        """Return which streams' latents are finite.

        What is not finite in a cache shows in the latents of the next tick.
        """
        total = self.references.flatten(1).sum(1) + self.buffer.latents.flatten(1).sum(1)
        return total.isfinite()  # one number a stream: looking at each would cost more

    def _tensors(self) -> dict[str, Tensor]:
        return _tensors_of(
            {
                "references": self.references,
                "reference_prompts": self.reference_prompts,
                "buffer": self.buffer.latents,
                "buffer_prompts": self.buffer.prompts,
                "cache": None if self.cache is None else self.cache.layers,
                "noise": (self.noise.origins, self.noise.drawn),
            },
            0 if self.cache is None else len(self.cache.layers),
        )


def _tensors_of(state: Any, layers: int) -> dict[str, Any]:
    """Return the entries of a state by name, those of the cache and of the noise one by one.

    Raises:
        ShapeError: if the state has other entries, or keeps keys and values of another number of
            layers.
    """
    check_keys("a stream", state, ENTRIES)
    flat = {name: state[name] for name in ENTRIES if name not in ("cache", "noise")}
    flat["noise origins"], flat["noise drawn"] = check_list("noise", state["noise"], 2)
    if layers == 0 and state["cache"] is None:
        return flat
    for layer, pair in enumerate(check_list("cache", state["cache"], layers)):
        flat[f"keys {layer}"], flat[f"values {layer}"] = check_list("cache", pair, 2)
    return flat
