"""Many ways to ask for each of PushT's nine moves, and some that no training data hold."""

from __future__ import annotations

import itertools

from streamdit_gym.envs.pusht.vocabulary import (
    COMPASS,
    DIRECTIONS,
    EDGES,
    FULL_PHRASES,
    STAY_PHRASES,
    TEMPLATES,
)

# In the order of `definition.MOVES`.
MOVE_NAMES = (
    "stay",
    "up",
    "up right",
    "right",
    "down right",
    "down",
    "down left",
    "left",
    "up left",
)


def phrases(action: int) -> tuple[str, ...]:
    """Return every phrase of one action; the first is the prompt of the menu action."""
    name = MOVE_NAMES[action]
    if name == "stay":
        return STAY_PHRASES
    combined = []
    for template, direction in itertools.product(TEMPLATES, _directions(name)):
        combined.append(template.format(direction))
    full = FULL_PHRASES.get(name, ())
    return tuple(dict.fromkeys([*combined, *full]))


def _directions(name: str) -> tuple[str, ...]:
    """Return the ways to name one direction."""
    if name in DIRECTIONS:
        return DIRECTIONS[name]
    vertical, side = name.split()
    north = COMPASS[vertical]
    east = COMPASS[side]
    corner = f"{EDGES[vertical]} {side}"
    return (
        name,
        f"{vertical} and {side}",
        f"{vertical} and to the {side}",
        f"diagonally {name}",
        f"{side} and {vertical}",
        north + east,
        f"{north} {east}",
        f"toward the {corner} corner",
        f"to the {corner}",
        f"{north} and {east}",
        f"to the {north}{east}",
        f"both {vertical} and {side}",
        f"into the {corner} corner",
        f"{vertical}wards and {side}wards",
        f"halfway between {north} and {east}",
        f"along the diagonal {vertical} and {side}",
        f"diagonally toward the {corner}",
        f"in the {north}{east} direction",
        f"{north}-{east}",
        f"{vertical} as well as {side}",
        f"on the diagonal between {vertical} and {side}",
        f"where {north} meets {east}",
        f"to the {corner} of the table",
        f"{corner} corner",
    )


# Written by hand, in words that the templates do not make. No training data hold them: they measure
# how free text is followed.
UNSEEN_PHRASES: tuple[tuple[str, ...], ...] = (
    (
        "remain motionless",
        "don't go anywhere",
        "stay right here",
        "no motion please",
        "just stand there",
    ),
    ("climb up", "lift it to the top", "make it rise", "head for the top side", "ascend"),
    (
        "aim for the top right",
        "go northeast please",
        "up, then right",
        "move to the upper right",
        "the upper right corner",
    ),
    (
        "run to the right side",
        "eastward",
        "take it right",
        "move it over to the right",
        "scoot right",
    ),
    (
        "aim for the bottom right",
        "go southeast please",
        "down, then right",
        "move to the lower right",
        "the lower right corner",
    ),
    ("drop down", "lower it to the bottom", "make it sink", "head for the bottom side", "descend"),
    (
        "aim for the bottom left",
        "go southwest please",
        "down, then left",
        "move to the lower left",
        "the lower left corner",
    ),
    ("run to the left side", "westward", "take it left", "move it over to the left", "scoot left"),
    (
        "aim for the top left",
        "go northwest please",
        "up, then left",
        "move to the upper left",
        "the upper left corner",
    ),
)
