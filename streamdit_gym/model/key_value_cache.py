"""Keys and values of clean reference frames, so that they are computed once.

Takes: keys and values of frames.  Gives: the same, cut along frames or changed row by row.  Knows
    nothing of: how they
were made. Keys are kept before rotation, so that positions stay relative however long a stream
runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

Pair = tuple[
    Float[Tensor, "b f n g d"], Float[Tensor, "b f n g d"]
]  # keys and values, g attention heads


@dataclass(frozen=True, kw_only=True)
class KeyValueCache:
    """Keys and values of some frames in every layer; of no layer, if the model can keep none.

    A cache belongs to a stream (the session), never to the model.
    """

    layers: tuple[Pair, ...]

    @property
    def frames(self) -> int:
        """Number of frames in it."""
        return self.layers[0][0].shape[1] if self.layers else 0

    def last(self, frames: int) -> KeyValueCache:
        """Return the last frames."""
        start = max(0, self.frames - frames)
        return self.each(lambda part: part[:, start:]) if start else self

    def each(self, change: Callable[[Tensor], Tensor]) -> KeyValueCache:
        """Return what a change makes of every tensor."""
        return KeyValueCache(
            layers=tuple((change(keys), change(values)) for keys, values in self.layers)
        )

    def tensors(self) -> list[Tensor]:
        """Return its tensors, layer after layer, keys before values."""
        return [part for pair in self.layers for part in pair]
