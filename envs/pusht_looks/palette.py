"""The colours that PushT's things can have, and the combinations that no training has shown."""

from __future__ import annotations

import itertools

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "grey": (119, 136, 153),
    "green": (144, 238, 144),
    "blue": (65, 105, 225),
    "red": (205, 45, 45),
    "yellow": (245, 215, 70),
    "orange": (250, 140, 40),
    "purple": (150, 80, 190),
    "pink": (250, 150, 190),
    "black": (35, 35, 40),
}
THINGS = ("table", "T", "goal", "pusher")

Appearance = dict[str, str]  # thing to colour; of all things or of some

PUSHT_APPEARANCE: Appearance = {"table": "white", "T": "grey", "goal": "green", "pusher": "blue"}
NUM_UNSEEN = 200


def _all_appearances() -> list[Appearance]:
    """Return every appearance of four different colours, always in the same shuffled order."""
    appearances = []
    for colours in itertools.permutations(COLOURS, len(THINGS)):
        appearances.append(dict(zip(THINGS, colours, strict=True)))
    order = np.random.default_rng(2024).permutation(len(appearances))
    return [appearances[i] for i in order]


_ALL = _all_appearances()
UNSEEN_APPEARANCES = _ALL[:NUM_UNSEEN]
TRAINING_APPEARANCES = _ALL[NUM_UNSEEN:]
_UNSEEN_COLOURS = {tuple(look[thing] for thing in THINGS) for look in UNSEEN_APPEARANCES}


def is_for_training(appearance: Appearance) -> bool:
    """Return whether all four things differ in colour, and training may show them so."""
    colours = tuple(appearance[thing] for thing in THINGS)
    return len(set(colours)) == len(THINGS) and colours not in _UNSEEN_COLOURS
