"""All state of some streams, one row per stream.

Takes: rows.  Gives: the same rows selected, replaced, saved, restored.  Knows nothing of: weights.

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
from streamdit_gym.text.prompt_protocol import Prompts

ENTRIES = ("references", "reference_prompts", "buffer", "buffer_prompts", "cache", "noise")
# Entries that are prompts: rows of a table, or positions among words.
PROMPT_ENTRIES = ("reference_prompts", "buffer_prompts")
MAX_DRAWN = 2**62  # pairs of noise; far beyond any stream, and far from an overflow
MIN_VALUES = {"reference_prompts": -1, "buffer_prompts": -1, "noise drawn": 0}
MAX_VALUES = {"noise drawn": MAX_DRAWN}


@dataclass(kw_only=True)
class Session:
    """State of b streams; the engine replaces the tensors at every tick.

    Attributes:
        references: the last K + c clean latents of every stream, oldest first, at the noise level
            of references.
        reference_prompts: the prompts that they are conditioned on.
        buffer: the frames being denoised.
        cache: keys and values of the references before the newest chunk; None for models without
            cache.
        noise: where the streams' noise comes from.
    """

    references: Float[Tensor, "b f c h w"]
    reference_prompts: Prompts
    buffer: MovingBuffer
    cache: KeyValueCache | None
    noise: Noise

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self.references)

    def draw(self, frames: int) -> Float[Tensor, "b n c h w"]:
        """Draw standard normal latents, every row from its own sequence."""
        shape = (frames, *self.references.shape[2:])
        noise = self.noise.draw(shape)
        return noise.to(self.references)

    def become(self, other: Session) -> None:
        """Take over the state of another session of the same streams, all or nothing."""
        # one operation of the interpreter: Ctrl-C comes before or after it, never within
        vars(self).update(vars(other))

    def append_references(self, latents: Float[Tensor, "b n c h w"], prompts: Prompts) -> None:
        """Append a chunk to the references; as many of the oldest go."""
        count = latents.shape[1]
        newer = self.references[:, count:]
        newer_prompts = self.reference_prompts[:, count:]
        self.references = torch.cat([newer, latents], 1)
        self.reference_prompts = torch.cat([newer_prompts, prompts], 1)

    def take(self, rows: Sequence[int], noise: Noise) -> Session:
        """Return a session of copies of some rows, with noise of their own.

        Any row may be taken any number of times.
        """
        index = self._index(rows)
        buffer = replace(
            self.buffer,
            latents=self.buffer.latents[index],
            prompts=self.buffer.prompts[index],
        )
        cache = self.cache
        if cache is not None:
            cache = cache.each(lambda part: part[index])
        return Session(
            references=self.references[index],
            reference_prompts=self.reference_prompts[index],
            buffer=buffer,
            cache=cache,
            noise=noise.to(index.device),
        )

    def write(self, rows: Sequence[int], other: Session) -> None:
        """Replace some rows by the rows of another session; other rows stay bit-equal."""
        index = self._index(rows)

        def written(old: Tensor, new: Tensor) -> Tensor:
            return old.index_copy(0, index, new)

        self.references = written(self.references, other.references)
        self.reference_prompts = written(self.reference_prompts, other.reference_prompts)
        buffer = self.buffer
        other_buffer = other.buffer
        self.buffer = replace(
            buffer,
            latents=written(buffer.latents, other_buffer.latents),
            prompts=written(buffer.prompts, other_buffer.prompts),
        )
        if self.cache is not None and other.cache is not None:
            other_tensors = iter(other.cache.tensors())
            self.cache = self.cache.each(lambda part: written(part, next(other_tensors)))
        self.noise.write(index, other.noise)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything, as tensors."""
        return _tree_copy(self._state())

    def check_state_dict(self, state: Any, finite: Bool[np.ndarray, " b"] | None = None) -> None:
        """Refuse what is no state of as many streams of this kind; nothing changes.

        Args:
            state: what `state_dict` returned, of any device.
            finite: which streams' numbers must be finite; None: all of them.

        Raises:
            ShapeError: if an entry is missing, or has another type, shape or dtype.
            ArgumentError: if numbers are not finite, or out of range.
        """
        tensors = _flat_state(state, self._layers)
        for name, like in self._tensors().items():
            check_tensor(
                name,
                tensors[name],
                like,
                finite=finite,
                may_be_nan=name in PROMPT_ENTRIES,
                least=MIN_VALUES.get(name),
                most=MAX_VALUES.get(name),
            )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state, of any device.

        Raises:
            ShapeError, ArgumentError: as `check_state_dict`; nothing has changed then.
        """
        self.check_state_dict(state, np.zeros(len(self), dtype=bool))
        device = self.references.device
        tensors = {
            name: saved.detach().to(device, copy=True)
            for name, saved in _flat_state(state, self._layers).items()
        }
        if self.cache is not None:
            pairs = []
            for layer in range(self._layers):
                keys = tensors[f"keys {layer}"]
                values = tensors[f"values {layer}"]
                pairs.append((keys, values))
            self.cache = KeyValueCache(layers=tuple(pairs))
        self.buffer = replace(
            self.buffer, latents=tensors["buffer"], prompts=tensors["buffer_prompts"]
        )
        self.noise = Noise(origins=tensors["noise origins"], drawn=tensors["noise drawn"])
        self.reference_prompts = tensors["reference_prompts"]
        self.references = tensors["references"]

    def finite(self) -> Bool[Tensor, " b"]:
        """Return which streams' latents are finite.

        A number in a cache that is not finite shows in the latents of the next tick.
        """
        # one number a stream: to test each would cost more
        references = self.references.flatten(1)
        buffer = self.buffer.latents.flatten(1)
        reference_totals = references.sum(1)
        buffer_totals = buffer.sum(1)
        totals = reference_totals + buffer_totals
        return totals.isfinite()

    def _index(self, rows: Sequence[int]) -> Int[Tensor, " r"]:
        return torch.as_tensor(list(rows), device=self.references.device)

    @property
    def _layers(self) -> int:
        """Layers of the cache; 0 without one."""
        return 0 if self.cache is None else len(self.cache.layers)

    def _tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the state themselves, by name."""
        return _flat_state(self._state(), self._layers)

    def _state(self) -> dict[str, Any]:
        """Return the state's entries, not copied."""
        return {
            "references": self.references,
            "reference_prompts": self.reference_prompts,
            "buffer": self.buffer.latents,
            "buffer_prompts": self.buffer.prompts,
            "cache": None if self.cache is None else self.cache.layers,
            "noise": (self.noise.origins, self.noise.drawn),
        }


def _tree_copy(value: Any) -> Any:
    """Return dictionaries and tuples with copies of the tensors in them."""
    if isinstance(value, dict):
        return {name: _tree_copy(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_tree_copy(item) for item in value)
    if isinstance(value, Tensor):
        return value.clone()
    return value


def _flat_state(state: Any, layers: int) -> dict[str, Any]:
    """Return the entries of a state by name, those of the cache and of the noise one by one.

    Raises:
        ShapeError: if the state has other entries, or keys and values of another number of layers.
    """
    check_keys("a stream", state, ENTRIES)
    flat = {name: state[name] for name in ENTRIES if name not in ("cache", "noise")}
    flat["noise origins"], flat["noise drawn"] = check_list("noise", state["noise"], 2)
    if layers == 0 and state["cache"] is None:
        return flat
    for layer, pair in enumerate(check_list("cache", state["cache"], layers)):
        flat[f"keys {layer}"], flat[f"values {layer}"] = check_list("cache", pair, 2)
    return flat
