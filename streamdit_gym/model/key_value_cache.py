"""Keys and values of clean reference frames, so that they are computed once.

Takes: keys and values of frames.  Gives: the same, cut and joined along frames.  Knows nothing of: how they
were made. Keys are kept before rotation, so that positions stay relative however long a stream runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KeyValueCache:
    """Keys and values of some frames in every layer, stacked: 2 is (key, value), g attention heads.

    A cache belongs to a stream (the session), never to the model.
    """

    pairs: Float[Tensor, "b f layer 2 n g d"]

    @property
    def frames(self) -> int:
        """Number of frames in it."""
        return self.pairs.shape[1]

    def join(self, later: KeyValueCache, most: int) -> KeyValueCache:
        """Return this cache with later frames behind it, of all the last `most`."""
        dropped = max(0, self.frames + later.frames - most)
        return KeyValueCache(pairs=torch.cat([self.pairs[:, dropped:], later.pairs[:, max(0, dropped - self.frames) :]], dim=1))

    def cut(self, start: int) -> KeyValueCache:
        """Return the frames from one on."""
        return KeyValueCache(pairs=self.pairs[:, start:]) if start else self

    def layer(self, layer: int) -> tuple[Float[Tensor, "b f n g d"], Float[Tensor, "b f n g d"]]:
        """Return one layer's keys and values."""
        pair = self.pairs[:, :, layer]
        return pair[:, :, 0], pair[:, :, 1]
