"""The reference simulator of PushT in many colours: PushT, painted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.envs.pusht.definition import STARTS as PUSHT_STARTS
from streamdit_gym.envs.pusht.saved_state import check_saved
from streamdit_gym.envs.pusht.simulator import Frame, LargeFrame, PushTSimulator
from streamdit_gym.envs.pusht_looks.definition import (
    NEW_COLOURS_SHARE,
    PAINTED_START,
    PUSHT_COLOURS_SHARE,
    SAME_COLOURS_SHARE,
    SPEC,
)
from streamdit_gym.envs.pusht_looks.palette import (
    COLOURS,
    PUSHT_APPEARANCE,
    THINGS,
    TRAINING_APPEARANCES,
    Appearance,
    is_for_training,
)
from streamdit_gym.envs.pusht_looks.phrases import (
    COLOUR_PHRASES,
    NUM_COLOUR_PHRASES,
    parse_colours,
    recorded_prompt,
)
from streamdit_gym.envs.pusht_looks.saved_state import check_saved_appearance
from streamdit_gym.errors import UnknownNameError

# gym-pusht draws seven colours, which differ in their red: the thing, and its shade's brightness.
SHADES = {
    255: ("table", 1.0),
    211: ("table", 0.828),
    144: ("goal", 1.0),
    143: ("T", 1.2),
    119: ("T", 1.0),
    78: ("pusher", 1.2),
    65: ("pusher", 1.0),
}
MAX_PHRASES_TRIED = 8  # until colours are named that may be shown


class PushTLooksSimulator(PushTSimulator):
    """PushT painted; `streamdit_gym.definition.Simulator` has the protocol."""

    spec = SPEC

    def __init__(self) -> None:
        super().__init__()
        self._appearance: Appearance = dict(PUSHT_APPEARANCE)
        self._large_frame = np.zeros((512, 512, 3), np.uint8)  # gym-pusht's newest
        self._names_colours = False  # whether the exploration policy does
        self._last_phrase: int | None = None  # number of the last colour phrase
        self._next_phrase: int | None = None  # number of the one that goes with the next move

    def reset(self, rng: np.random.Generator, start: str = "uniform") -> Frame:
        """Start an episode in PushT's colours.

        Args:
            rng: draws where things are, and their colours.
            start: one of PushT's kinds; or ``painted``: any of them, mostly in other colours, and
                `explore` will name colours.
        """
        self._last_phrase = None
        self._next_phrase = None
        self._appearance = dict(PUSHT_APPEARANCE)
        self._names_colours = start == PAINTED_START
        if self._names_colours:
            start = str(rng.choice(list(PUSHT_STARTS), p=list(PUSHT_STARTS.values())))
            if rng.random() >= PUSHT_COLOURS_SHARE:
                number = int(rng.integers(len(TRAINING_APPEARANCES)))
                self._appearance = dict(TRAINING_APPEARANCES[number])
        return super().reset(rng, start)

    @property
    def appearance(self) -> Appearance:
        """All things' colours now, a copy."""
        return dict(self._appearance)

    def paint(self, appearance: Mapping[str, str]) -> None:
        """Paint some things from the next frame on.

        Raises:
            UnknownNameError: if there is no such thing or colour.
        """
        for thing, colour in appearance.items():
            if thing not in THINGS:
                raise UnknownNameError("thing", thing, THINGS)
            if colour not in COLOURS:
                raise UnknownNameError("colour", colour, COLOURS)
        self._appearance |= appearance

    def explore(self, rng: np.random.Generator) -> int:
        """Return PushT's exploration action; in painted episodes, now and then with colours."""
        action = super().explore(rng)
        if self._names_colours:
            self._next_phrase = self._explore_colours(rng)
        return action

    def _explore_colours(self, rng: np.random.Generator) -> int | None:
        """Return the number of the colour phrase for the next move: new, the last, or none."""
        chance = rng.random()
        phrase = self._last_phrase if chance > 1 - SAME_COLOURS_SHARE else None
        if chance >= NEW_COLOURS_SHARE:
            return phrase
        for number in rng.integers(NUM_COLOUR_PHRASES, size=MAX_PHRASES_TRIED).tolist():
            if is_for_training({**self._appearance, **COLOUR_PHRASES[number].appearance}):
                self._last_phrase = number
                return number
        return phrase

    def prompt_for(self, action: int, phrase: str) -> str:
        """Return the phrase, or colours and a move."""
        if self._next_phrase is None:
            return phrase
        return recorded_prompt(self._next_phrase, action)

    def parse_prompt(self, text: str) -> str:
        """Paint things in the colours that a prompt names, and return the rest of it."""
        appearance, rest = parse_colours(text)
        self._appearance |= appearance
        return rest

    def step(self, action: int) -> Frame:
        """Move as in PushT, in the colours that were named with the action."""
        if self._next_phrase is not None:
            self.paint(COLOUR_PHRASES[self._next_phrase].appearance)
        return super().step(action)

    def save(self) -> Any:
        """Return PushT's state and the colours."""
        return super().save(), dict(self._appearance)

    def restore(self, saved: Any) -> None:
        """Go back to a saved state.

        Raises:
            ArgumentError, UnknownNameError: if it is no saved state; nothing is changed then.
        """
        inner, appearance = check_saved_appearance(saved)
        check_saved(inner, SPEC.actions)
        self._last_phrase = None
        self._next_phrase = None
        self._appearance = appearance
        super().restore(inner)

    def base_frame(self) -> Frame:
        """Return the newest frame in PushT's colours."""
        return super()._small_frame(self._large_frame)

    def _small_frame(self, large: LargeFrame) -> Frame:
        self._large_frame = large
        colour_of_red: UInt8[np.ndarray, "256 3"] = np.zeros((256, 3), np.uint8)
        for red, (thing, brightness) in SHADES.items():
            colour = np.array(COLOURS[self._appearance[thing]]) * brightness
            colour_of_red[red] = np.rint(colour).clip(max=255)
        painted = colour_of_red.take(large[..., 0], axis=0)  # five times as fast as an index
        return super()._small_frame(painted)
