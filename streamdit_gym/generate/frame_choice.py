"""Which generated frames are relabelled: first those in which an object has lost its integrity."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool

BROKEN_SHARE = 0.75  # of the episodes follow a broken object, if there are as many such frames

Place = tuple[int, int]  # stream and frame


def choose_frames(
    is_intact: Bool[np.ndarray, "b f"], num_before: int, count: int, rng: np.random.Generator
) -> list[Place]:
    """Return the places that are relabelled, each with enough frames before it.

    Of every spell in which an object is not intact these are one of its first frames, where it can
    still be seen what the object was, and one of the others, however long the spell lasts, up to
    `BROKEN_SHARE`. The remaining places are random.

    Args:
        is_intact: in which frames of every stream all objects are intact.
        num_before: frames that a place needs, itself counted in.
        count: how many places.
        rng: chooses.
    """
    spells = _broken_frames(is_intact, num_before)
    broken = [places[int(rng.integers(len(places)))] for places in spells]
    order = rng.permutation(len(broken))[: round(BROKEN_SHARE * count)]
    chosen = [broken[i] for i in order]
    anywhere = []
    for stream in range(len(is_intact)):
        for frame in range(num_before - 1, is_intact.shape[1]):
            anywhere.append((stream, frame))
    for i in rng.permutation(len(anywhere)):
        if len(chosen) == count:
            break
        if anywhere[i] not in chosen:
            chosen.append(anywhere[i])
    return chosen


def _broken_frames(is_intact: Bool[np.ndarray, "b f"], num_before: int) -> Iterable[list[Place]]:
    """Return the places of every spell without integrity: its first frames, and its others."""
    num_early = num_before // 2
    spells: dict[tuple[int, int, bool], list[Place]] = {}
    for stream, intact in enumerate(is_intact):
        spell_start = 0
        for frame in range(is_intact.shape[1]):
            if intact[frame]:
                spell_start = frame + 1
            elif frame >= num_before - 1:
                is_early = frame - spell_start < num_early
                spells.setdefault((stream, spell_start, is_early), []).append((stream, frame))
    return spells.values()
