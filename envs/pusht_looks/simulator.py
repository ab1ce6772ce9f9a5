"""PushT in many colours: a prompt may also say what colour the table, the T, its goal and the
pusher have.

Takes: a menu action.  Gives: what PushT gives, painted; the phrases that name colours; the check
    whether a frame wears them.
Knows nothing of: the model.

A thing that a prompt does not name keeps its colour, so a prompt of PushT means here what it means
there. The four things always differ in colour.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.definition import AppearanceEvaluation
from streamdit_gym.envs.pusht import simulator as pusht
from streamdit_gym.envs.pusht.saved import check_saved, check_saved_look
from streamdit_gym.envs.pusht.simulator import (
    ACTION_NAMES,
    ACTION_VECTORS,
    ACTOR,
    BODY,
    EVALUATOR_VERSION,
    GOAL_MIDDLE_PX,
    SIZE,
    UNSEEN_PHRASES,
    PushTSimulator,
    objects,
    script,
)
from streamdit_gym.errors import UnknownNameError

__all__ = [
    "ACTION_NAMES",
    "ACTION_VECTORS",
    "ACTOR",
    "BODY",
    "EVALUATOR_VERSION",
    "JUDGED",
    "LOOKS",
    "SPEC",
    "STARTS",
    "UNSEEN_PHRASES",
    "PushTLooksSimulator",
    "move_prompt",
    "objects",
    "script",
    "wears",
]

PAINTS: dict[str, tuple[int, int, int]] = {
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
Look = dict[str, str]  # thing to colour
PLAIN: Look = {"table": "white", "T": "grey", "goal": "green", "pusher": "blue"}
# ways to say that a thing has a colour; the first is the plainest
_NAMED = {
    "table": ("a {} table", "the table is {}", "on a {} table"),
    "T": ("a {} T", "the T is {}", "the block turns {}"),
    "goal": ("a {} goal", "the goal is {}", "its goal in {}"),
    "pusher": ("a {} pusher", "the pusher is {}", "a {} dot"),
}
_SAID_OF_ONE = {
    way.format(colour).lower(): (thing, colour)
    for thing, ways in _NAMED.items()
    for way in ways
    for colour in PAINTS
}
RECORDED = 1500  # sayings about colours in the training data
AREAS = {
    "table": (2000, 4096),
    "T": (60, 200),
    "goal": (25, 200),
    "pusher": (5, 40),
}  # pixels, edges left out
GOAL_PLACE = np.hypot(*(np.indices((SIZE, SIZE)) + 0.5 - GOAL_MIDDLE_PX[::-1, None, None])) < 16
HELD_BACK = 200  # whole looks, all four things named, that no training has seen
SAID = (
    0.12,
    0.12,
    # share of the recorded steps in which other colours are named, and in which the last ones are again
)
_REDS = {
    255: ("table", 1.0),
    211: ("table", 0.828),
    144: ("goal", 1.0),
    143: ("T", 1.2),
    119: ("T", 1.0),
    78: ("pusher", 1.2),
    65: ("pusher", 1.0),
}


def saying(look: Mapping[str, str], way: int = 0) -> str:
    """Return colours in words, e.g. ``a red T, a black table``.

    Args:
        look: some things' colours.
        way: which of the ways to say it.
    """
    return ", ".join(
        _NAMED[thing][way % len(_NAMED[thing])].format(colour) for thing, colour in look.items()
    )


def _whole_looks() -> list[Look]:
    """Return every look of four colours, in an order that is always the same and mixed."""
    every = [
        dict(zip(THINGS, colours, strict=True))
        for colours in itertools.permutations(PAINTS, len(THINGS))
    ]
    return [every[i] for i in np.random.default_rng(2024).permutation(len(every))]


_LOOKS = _whole_looks()
UNSEEN_LOOKS, _SEEN_LOOKS = _LOOKS[:HELD_BACK], _LOOKS[HELD_BACK:]


def _recorded() -> list[tuple[Look, str]]:
    """Return what the training data say about colours:
    one to four things of looks that are not held back.
    """
    rng = np.random.default_rng(2025)
    made: dict[str, Look] = {}
    for whole in itertools.cycle(_SEEN_LOOKS):
        if len(made) == RECORDED:
            return [(look, text) for text, look in made.items()]
        things = [
            str(thing) for thing in rng.permutation(THINGS)[: rng.integers(1, len(THINGS) + 1)]
        ]
        look = {thing: whole[thing] for thing in things}
        made[saying(look, int(rng.integers(3)))] = look
    raise AssertionError


WAYS = 24  # phrases of each move that are recorded
_MENU = tuple((moves[0], *moves[1 :: len(moves) // WAYS + 1]) for moves in pusht.SPEC.menu)
_SAYINGS = _recorded()


def joined(saying_number: int, action: int) -> str:
    """Return what is said when colours are named with a move."""
    ways = _MENU[action]
    return f"{_SAYINGS[saying_number][1]}; {ways[saying_number % len(ways)]}"


SPEC = dataclasses.replace(
    pusht.SPEC,
    name="PushT-Looks",
    menu=_MENU,
    also=tuple(
        joined(number, action) for number in range(RECORDED) for action in range(len(_MENU))
    ),
)
_HELD_BACK = {tuple(look[thing] for thing in THINGS) for look in UNSEEN_LOOKS}

# most episodes are painted; the others are PushT's, and no colour is named in them
STARTS = {"painted": 0.7, **{name: 0.3 * share for name, share in pusht.STARTS.items()}}
JUDGED = pusht.STARTS
BEGUN_PLAIN = 0.3  # share of the painted episodes that begin in PushT's colours


def _colours_and_rest(text: str) -> tuple[Look, str]:
    """Return the colours that parts of a text name in the recorded words, and the rest of the text;
    without any, to stay.
    """
    look: Look = {}
    rest = []
    for part in re.split("[;,]", text):
        named = _SAID_OF_ONE.get(part.strip().lower().removesuffix("."))
        if named is None:
            rest.append(part.strip())
        else:
            look[named[0]] = named[1]
    return look, "; ".join(rest) or SPEC.menu[0][0]


def move_prompt(text: str) -> str:
    """Return what a text says beside colours: the move."""
    return _colours_and_rest(text)[1]


class PushTLooksSimulator(PushTSimulator):
    """PushT painted; see `streamdit_gym.types.Simulator`."""

    spec = SPEC

    def __init__(self) -> None:
        super().__init__()
        self._worn: Look = dict(PLAIN)
        self._large = np.zeros((512, 512, 3), np.uint8)  # gym-pusht's newest frame
        self._painted = False  # whether the player names colours
        self._last: int | None = None  # the last saying about colours
        self._named: int | None = None  # the one that goes with the next move

    def reset(
        self, rng: np.random.Generator, start: str = "uniform"
    ) -> UInt8[np.ndarray, "64 64 3"]:
        """Start an episode of one of PushT's kinds in PushT's colours, or ``painted``: of any kind,
        and colours will be named.
        """
        self._last, self._named, self._worn = None, None, dict(PLAIN)
        self._painted = start == "painted"
        if self._painted:
            start = str(rng.choice(list(pusht.STARTS), p=list(pusht.STARTS.values())))
            if rng.random() >= BEGUN_PLAIN:
                self._worn = dict(_SEEN_LOOKS[int(rng.integers(len(_SEEN_LOOKS)))])
        return super().reset(rng, start)

    @property
    def worn(self) -> Look:
        """The colours as they are now."""
        return dict(self._worn)

    def wear(self, look: Mapping[str, str]) -> None:
        """Paint some things from the next frame on.

        Raises:
            UnknownNameError: if there is no such thing or colour.
        """
        for thing, colour in look.items():
            if thing not in THINGS:
                raise UnknownNameError("thing", thing, THINGS)
            if colour not in PAINTS:
                raise UnknownNameError("colour", colour, PAINTS)
        self._worn |= look

    def explore(self, rng: np.random.Generator) -> int:
        """Return PushT's mixed player's action; in painted episodes,
        now and then name colours with it.
        """
        action = super().explore(rng)
        if not self._painted:
            return action
        drawn = rng.random()
        self._named = self._last if drawn > 1 - SAID[1] else None
        if drawn < SAID[0]:
            fit = [
                number
                for number in rng.integers(RECORDED, size=8).tolist()
                if self._may_wear(_SAYINGS[number][0])
            ]
            if fit:
                self._named = self._last = fit[0]
        return action

    def _may_wear(self, look: Mapping[str, str]) -> bool:
        """Return whether all things would still differ, and the whole is not held back."""
        colours = tuple({**self._worn, **look}[thing] for thing in THINGS)
        return len(set(colours)) == len(THINGS) and colours not in _HELD_BACK

    def said(self, action: int, phrase: str) -> str:
        """Return the phrase, or colours named and a move."""
        return phrase if self._named is None else joined(self._named, action)

    def hear(self, text: str) -> str:
        """Wear the colours that parts of a text name in the recorded words, and return the rest;
        without any, to stay.
        """
        look, rest = _colours_and_rest(text)
        self._worn |= look
        return rest

    def step(self, action: int) -> UInt8[np.ndarray, "64 64 3"]:
        """Move as in PushT, in the colours that were named with the action."""
        if self._named is not None:
            self.wear(_SAYINGS[self._named][0])
        return super().step(action)

    def save(self) -> Any:
        """Return PushT's state and the colours."""
        return super().save(), dict(self._worn)

    def restore(self, saved: Any) -> None:
        """Go back to a saved state.

        Raises:
            ArgumentError, UnknownNameError: if it is no saved state; nothing is changed then.
        """
        inner, look = check_saved_look(saved, THINGS, PAINTS)
        check_saved(inner, len(pusht.MOVES))
        self._last, self._named, self._worn = None, None, look
        super().restore(inner)

    def plain(self) -> UInt8[np.ndarray, "64 64 3"] | None:
        """Return the newest frame in PushT's colours."""
        return super()._picture(self._large)

    def _picture(self, large: UInt8[np.ndarray, "512 512 3"]) -> UInt8[np.ndarray, "64 64 3"]:
        paint = np.zeros((256, 3), np.uint8)  # gym-pusht's seven colours differ in their red
        for red, (thing, light) in _REDS.items():
            paint[red] = np.rint(np.array(PAINTS[self._worn[thing]]) * light).clip(max=255)
        self._large = large
        return super()._picture(paint.take(large[..., 0], axis=0))  # five times as fast as an index


def wears(
    frames: UInt8[np.ndarray, "n h w 3"], look: Mapping[str, str]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return whether frames show each thing in its colour, 1 or 0: about as many pixels as it has,
    the goal's in its place.

    A goal that the T lies on cannot be told: nan.

    Args:
        frames: pixels.
        look: all four things' colours.
    """
    names, paints = list(PAINTS), np.array(list(PAINTS.values()), np.float32)
    nearest = ((frames[..., None, :].astype(np.float32) - paints) ** 2).sum(-1).argmin(-1)
    found = {}
    for thing in THINGS:
        painted = nearest == names.index(look[thing])
        least, most = AREAS[thing]
        found[thing] = ((painted.sum((1, 2)) >= least) & (painted.sum((1, 2)) <= most)).astype(
            float
        )
        if thing == "goal":
            found[thing] *= (painted & ~GOAL_PLACE).sum((1, 2)) <= 20
            covered = ((nearest == names.index(look["T"])) & GOAL_PLACE).sum((1, 2)) > 40
            found[thing][covered & (found[thing] == 0)] = np.nan
    return found


LOOKS = AppearanceEvaluation(unseen=tuple(UNSEEN_LOOKS), saying=saying, wears=wears)
