"""Noise of many streams, drawn at once, each stream from a sequence of its own.

Takes: seeds.  Gives: standard normal numbers.  Knows nothing of: latents, models.

Pair i of a stream's numbers is a function of its seed and of i: nothing is remembered but how many
were drawn. So all streams are drawn in a few operations on the device they live on, and what a
stream gets depends on neither the batch nor its place in it.
Source: SplitMix64 (Steele, Lea and Flood, 2014) for the bits, Box and Muller (1958) for the
    numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

STRIDE = 0x9E3779B97F4A7C15 - 2**64  # the golden ratio's bits, as a signed number
MIXERS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))


@dataclass(kw_only=True)
class Noise:
    """Sequences of noise, one row per stream.

    Attributes:
        origins: where the sequences begin.
        drawn: how far each has come, in pairs of numbers.
    """

    origins: Int[Tensor, " b"]
    drawn: Int[Tensor, " b"]

    @classmethod
    def seeded(cls, seeds: Sequence[int]) -> Noise:
        """Begin sequences; seeds are whole numbers from 0 to 2^63 - 1, like ones for like noise."""
        origins = _mixed(
            torch.tensor(list(seeds), dtype=torch.long)
        )  # mixed: neighbours must not share a sequence
        return cls(origins=origins, drawn=torch.zeros_like(origins))

    @classmethod
    def of(cls, rngs: Sequence[np.random.Generator]) -> Noise:
        """Begin sequences seeded by NumPy's generators."""
        return cls.seeded([int(rng.integers(2**63)) for rng in rngs])

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self.origins)

    def draw(self, shape: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Return the next numbers of every stream, float32 (b, *shape);
        of an odd count one more is left out.
        """
        count = math.prod(shape)
        pairs = -(-count // 2)
        place = self.drawn[:, None] + torch.arange(1, pairs + 1, device=self.origins.device)
        self.drawn = self.drawn + pairs
        bits = _mixed(self.origins[:, None] + place * STRIDE)
        high, low = (
            (part.to(torch.float32) + 0.5) * 2**-32
            for part in (_right(bits, 32), bits & 0xFFFFFFFF)
        )
        radius, angle = (-2 * high.log()).sqrt(), 2 * math.pi * low
        both = radius[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
        return both.flatten(1)[:, :count].reshape(len(self), *shape)

    def write(self, rows: Tensor, other: Noise) -> None:
        """Replace some rows."""
        self.origins = self.origins.index_copy(0, rows, other.origins)
        self.drawn = self.drawn.index_copy(0, rows, other.drawn)

    def to(self, device: torch.device | str) -> Noise:
        """Return the same sequences on a device; drawing from the one leaves the other where it
        is.
        """
        return Noise(origins=self.origins.to(device), drawn=self.drawn.to(device))


def _right(bits: Int[Tensor, "*n"], places: int) -> Int[Tensor, "*n"]:
    """Shift to the right and fill with zeros: torch's integers have a sign,
    which its own shift would fill with.
    """
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _mixed(bits: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Return numbers in which every bit hangs on every bit of what was given."""
    for places, factor in MIXERS:
        bits = (bits ^ _right(bits, places)) * factor
    return bits ^ _right(bits, 31)
