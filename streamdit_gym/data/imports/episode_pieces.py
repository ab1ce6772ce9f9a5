"""Recorded episodes of any length become episodes of a data set, in shards of equal size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

MAX_EPISODES = 32  # of a shard
MIN_SHARDS = 10  # where there are enough episodes: the last tenth is held out by training
MAX_LEFT_OUT = 0.02  # share of pieces that fill no shard


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a recorded episode.

    Attributes:
        episode: number of the recorded episode.
        start: its first frame there.
        steps: its length.
    """

    episode: int
    start: int
    steps: int


def cut_episodes(lengths: Mapping[int, int], most_steps: int) -> list[Piece]:
    """Return the pieces of all episodes, episode by episode in a random order that is always equal.

    Recordings are often sorted, and what is held out should be like all the rest. The first frame
    of a piece is the last one of the piece before it.

    Args:
        lengths: steps of every episode, by its number.
        most_steps: of a piece; longer episodes are cut into pieces of about the same length.
    """
    pieces = []
    for episode in np.random.default_rng(0).permutation(sorted(lengths)).tolist():
        length = lengths[episode]
        count = math.ceil(length / most_steps)
        ends = [round(length * number / count) for number in range(count + 1)]
        for start, end in pairwise(ends):
            pieces.append(Piece(episode=episode, start=start, steps=end - start))
    return pieces


def episodes_per_shard(num_pieces: int) -> int:
    """Return how many pieces a shard gets: as many as can be while hardly any is left over."""
    most = max(1, min(MAX_EPISODES, num_pieces // MIN_SHARDS))
    for count in range(most, 1, -1):
        if num_pieces % count <= MAX_LEFT_OUT * num_pieces:
            return count
    return 1
