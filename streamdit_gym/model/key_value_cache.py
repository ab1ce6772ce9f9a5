"""Keys and values of clean reference frames, so that they are computed once.

Keys are stored before rotation, so that positions stay relative however long a stream runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

# keys and values of any number of frames, g attention heads
Pair = tuple[Float[Tensor, "b _ n g e"], Float[Tensor, "b _ n g e"]]


@dataclass(frozen=True, kw_only=True)
class KeyValueCache:
    """Keys and values of some frames in every layer; of no layer, if the model cannot cache.

    A cache belongs to a stream (the session), never to the model.
    """

    layers: tuple[Pair, ...]

    @property
    def frames(self) -> int:
        """Number of frames in it."""
        if not self.layers:
            return 0
        keys, _ = self.layers[0]
        return keys.shape[1]

    def last(self, frames: int) -> KeyValueCache:
        """Return the last frames."""
        start = self.frames - frames
        if start <= 0:
            return self
        return self.each(lambda part: part[:, start:])

    def each(self, change: Callable[[Tensor], Tensor]) -> KeyValueCache:
        """Return a cache with every tensor changed by a function."""
        layers = tuple((change(keys), change(values)) for keys, values in self.layers)
        return KeyValueCache(layers=layers)

    def tensors(self) -> list[Tensor]:
        """Return its tensors, layer after layer, keys before values."""
        return [part for pair in self.layers for part in pair]
