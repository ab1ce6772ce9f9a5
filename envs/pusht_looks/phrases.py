"""Colours in words: what prompts say about them, and what a prompt means."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from streamdit_gym.envs.pusht.definition import SPEC as PUSHT_SPEC
from streamdit_gym.envs.pusht_looks.palette import (
    COLOURS,
    THINGS,
    TRAINING_APPEARANCES,
    Appearance,
)

# Ways to say that a thing has a colour; the first is the plainest.
TEMPLATES = {
    "table": ("a {} table", "the table is {}", "on a {} table"),
    "T": ("a {} T", "the T is {}", "the block turns {}"),
    "goal": ("a {} goal", "the goal is {}", "its goal in {}"),
    "pusher": ("a {} pusher", "the pusher is {}", "a {} dot"),
}
NUM_TEMPLATES = 3
NUM_COLOUR_PHRASES = 1500  # in the training data
MAX_MOVE_PHRASES = 24  # of each move, in the training data


@dataclass(frozen=True)
class ColourPhrase:
    """A phrase of the training data and the colours that it names."""

    text: str
    appearance: Appearance


def colour_phrase(appearance: Mapping[str, str], template: int = 0) -> str:
    """Return colours in words, e.g. ``a red T, a black table``.

    Args:
        appearance: some things' colours.
        template: which of the ways to say it.
    """
    parts = []
    for thing, colour in appearance.items():
        templates = TEMPLATES[thing]
        parts.append(templates[template % len(templates)].format(colour))
    return ", ".join(parts)


def _menu() -> tuple[tuple[str, ...], ...]:
    """Return PushT's menu with fewer phrases of each move."""
    menu = []
    for moves in PUSHT_SPEC.menu:
        stride = len(moves) // MAX_MOVE_PHRASES + 1
        menu.append((moves[0], *moves[1::stride]))
    return tuple(menu)


def _colour_phrases() -> list[ColourPhrase]:
    """Return what the training data say about colours: one to four things of an appearance."""
    rng = np.random.default_rng(2025)
    appearances: dict[str, Appearance] = {}
    for whole in itertools.cycle(TRAINING_APPEARANCES):
        if len(appearances) == NUM_COLOUR_PHRASES:
            break
        order = rng.permutation(THINGS)
        count = rng.integers(1, len(THINGS) + 1)
        things = [str(thing) for thing in order[:count]]
        appearance = {thing: whole[thing] for thing in things}
        text = colour_phrase(appearance, int(rng.integers(NUM_TEMPLATES)))
        appearances[text] = appearance
    return [ColourPhrase(text, appearance) for text, appearance in appearances.items()]


def _one_thing_phrases() -> dict[str, tuple[str, str]]:
    """Return for each phrase about one thing, in lower case, the thing and its colour."""
    meanings = {}
    for thing, templates in TEMPLATES.items():
        for template, colour in itertools.product(templates, COLOURS):
            meanings[template.format(colour).lower()] = (thing, colour)
    return meanings


MENU = _menu()
COLOUR_PHRASES = _colour_phrases()
_MEANINGS = _one_thing_phrases()


def recorded_prompt(number: int, action: int) -> str:
    """Return a prompt of the training data: a colour phrase by its number, and a move."""
    moves = MENU[action]
    return f"{COLOUR_PHRASES[number].text}; {moves[number % len(moves)]}"


def recorded_prompts() -> tuple[str, ...]:
    """Return every prompt of the training data that names colours."""
    numbers = range(NUM_COLOUR_PHRASES)
    actions = range(len(MENU))
    return tuple(recorded_prompt(number, action) for number in numbers for action in actions)


def parse_colours(text: str) -> tuple[Appearance, str]:
    """Return the colours that a prompt names in known phrases, and the rest of it.

    A prompt without a rest asks to stay.
    """
    appearance: Appearance = {}
    rest = []
    for part in re.split("[;,]", text):
        phrase = part.strip()
        meaning = _MEANINGS.get(phrase.lower().removesuffix("."))
        if meaning is None:
            rest.append(phrase)
        else:
            thing, colour = meaning
            appearance[thing] = colour
    return appearance, "; ".join(rest) or MENU[0][0]


def move_prompt(text: str) -> str:
    """Return what a prompt says beside colours: the move."""
    return parse_colours(text)[1]
