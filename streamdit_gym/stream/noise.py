"""Noise of many streams, drawn at once, each stream from a sequence of its own.

Pair i of a stream's numbers is a function of its seed and of i: the only state is how many were
drawn. So all streams are drawn in a few operations on the device they live on, and a stream's noise
depends on neither the batch nor its row.
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
WORD_BITS = 64
LOW_BITS = 0xFFFFFFFF


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
        """Begin sequences; seeds are whole numbers from 0 to 2^63 - 1."""
        # mixed: neighbouring seeds must not share a sequence
        numbers = torch.tensor(list(seeds), dtype=torch.long)
        origins = _mixed(numbers)
        drawn = torch.zeros_like(origins)
        return cls(origins=origins, drawn=drawn)

    @classmethod
    def of(cls, rngs: Sequence[np.random.Generator]) -> Noise:
        """Begin sequences seeded by NumPy's generators."""
        seeds = [int(rng.integers(2**63)) for rng in rngs]
        return cls.seeded(seeds)

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self.origins)

    def draw(self, shape: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Return the next numbers of every stream, float32 (b, *shape).

        Numbers come in pairs; of an odd count one more is left out.
        """
        count = math.prod(shape)
        pairs = -(-count // 2)
        origins = self.origins[:, None]
        drawn = self.drawn[:, None]
        steps = torch.arange(1, pairs + 1, device=origins.device)
        positions = drawn + steps  # b pairs
        self.drawn = self.drawn + pairs
        bits = _mixed(origins + positions * STRIDE)
        normal = _normal(bits)
        normal = normal.flatten(1)
        numbers = normal[:, :count]
        return numbers.reshape(len(self), *shape)

    def write(self, rows: Int[Tensor, " r"], other: Noise) -> None:
        """Replace some rows."""
        self.origins = self.origins.index_copy(0, rows, other.origins)
        self.drawn = self.drawn.index_copy(0, rows, other.drawn)

    def to(self, device: torch.device | str) -> Noise:
        """Return a copy on a device; drawing from one leaves the other where it is."""
        return Noise(
            origins=self.origins.to(device),
            drawn=self.drawn.to(device),
        )


def _normal(bits: Int[Tensor, "*n"]) -> Float[Tensor, "*n 2"]:
    """Return a pair of standard normal numbers for every 64 random bits."""
    high_bits = _shift_right(bits, 32)
    low_bits = bits & LOW_BITS
    first = _uniform(high_bits)
    second = _uniform(low_bits)
    squared_radius = -2 * first.log()
    radius = squared_radius.sqrt()
    angle = 2 * math.pi * second
    cosine = angle.cos()
    sine = angle.sin()
    direction = torch.stack([cosine, sine], -1)
    return radius[..., None] * direction


def _uniform(bits: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return numbers between 0 and 1, both excluded, of 32 random bits each."""
    whole = bits.to(torch.float32)
    return (whole + 0.5) * 2**-32


def _shift_right(bits: Int[Tensor, "*n"], places: int) -> Int[Tensor, "*n"]:
    """Shift to the right and fill with zeros; torch's own shift fills with the sign."""
    mask = (1 << (WORD_BITS - places)) - 1
    return (bits >> places) & mask


def _mixed(bits: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Return numbers in which every bit depends on every bit of the input."""
    for places, factor in MIXERS:
        bits = (bits ^ _shift_right(bits, places)) * factor
    return bits ^ _shift_right(bits, 31)
