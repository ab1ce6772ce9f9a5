"""The action language of recordings: words of a box for action vectors, or a menu of captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from streamdit_gym.actions import Menu, SpokenBox
from streamdit_gym.checks import check_prompt, shown
from streamdit_gym.errors import ArgumentError, DatasetError

WORDS = ("lowest", "low", "middle", "high", "highest")
MAX_CAPTIONS = 4096
MAX_NAME_CHARS = 64
MAX_BOUND = 1e6  # bundles hold no larger ones
MIN_RELATIVE_RANGE = 1e-6


@dataclass(frozen=True, kw_only=True)
class ActionRanges:
    """The numbers of recorded action vectors.

    Attributes:
        names: one for each number.
        low: smallest recorded values.
        high: largest recorded values.
    """

    names: tuple[str, ...]
    low: Float[np.ndarray, " a"]
    high: Float[np.ndarray, " a"]

    @classmethod
    def of(cls, names: Sequence[str], actions: Iterable[np.ndarray]) -> ActionRanges:
        """Return the ranges of actions; rows with values that are not finite do not count.

        Args:
            names: one for each number.
            actions: of every episode, (s, a).
        """
        low = np.full(len(names), np.inf)
        high = np.full(len(names), -np.inf)
        for values in actions:
            finite = values[np.isfinite(values).all(axis=1)]
            if len(finite):
                low = np.minimum(low, finite.min(axis=0))
                high = np.maximum(high, finite.max(axis=0))
        return cls(names=tuple(names), low=low, high=high)

    @property
    def varies(self) -> Bool[np.ndarray, " a"]:
        """Which numbers are not always the same."""
        size = np.maximum(np.abs(self.low), np.abs(self.high))
        finite = np.isfinite(self.low) & np.isfinite(self.high)
        return finite & (self.high - self.low > MIN_RELATIVE_RANGE * np.maximum(size, 1e-6))


def spoken_box(ranges: ActionRanges) -> tuple[SpokenBox, tuple[str, ...]]:
    """Return the box of the action numbers that vary, and a note about the others.

    Raises:
        DatasetError: if none varies, or one has too large values.
    """
    if not ranges.varies.any():
        raise DatasetError(
            "no number of the actions ever varies",
            given=", ".join(ranges.names) or "actions without numbers",
            allowed="actions of which at least one number varies",
            remedy="record something that moves, or train on captions: prompts=captions",
        )
    kept = np.flatnonzero(ranges.varies).tolist()
    largest = max(np.abs(ranges.low[kept]).max(), np.abs(ranges.high[kept]).max())
    if largest > MAX_BOUND:
        raise DatasetError(
            "actions with too large numbers",
            given=f"{largest:g}",
            allowed=f"-{MAX_BOUND:g} to {MAX_BOUND:g}",
            remedy="record them in another unit",
        )
    names = spoken_names([ranges.names[number] for number in kept])
    box = SpokenBox(
        dict.fromkeys(names, WORDS),
        low=[float(ranges.low[number]) for number in kept],
        high=[float(ranges.high[number]) for number in kept],
    )
    constant = [name for number, name in enumerate(ranges.names) if number not in kept]
    notes = (f"actions that never vary, left out: {', '.join(constant)}",) if constant else ()
    return box, notes


def spoken_names(names: Sequence[str]) -> list[str]:
    """Return names that can be said: words instead of dots and underscores, each name once."""
    spoken = [" ".join(re.split(r"[\W_]+", name)).strip()[:MAX_NAME_CHARS] for name in names]
    counts = Counter(spoken)
    return [
        text if text and counts[text] == 1 else f"action {number}"
        for number, text in enumerate(spoken, start=1)
    ]


def caption_menu(captions: Iterable[str]) -> Menu:
    """Return a menu of captions, the most frequent one first.

    Args:
        captions: as `clean_caption` returns them.

    Raises:
        DatasetError: if there are too many or none.
    """
    counts = Counter(captions)
    if not 0 < len(counts) <= MAX_CAPTIONS:
        raise DatasetError(
            "captions that cannot be a menu",
            given=f"{len(counts):,} different ones",
            allowed=f"1 to {MAX_CAPTIONS:,}",
            remedy="say what happens with fewer captions, or give actions as numbers",
        )
    return Menu(*[caption for caption, _ in counts.most_common()])


def clean_caption(text: object, where: str) -> str:
    """Return a caption without superfluous spaces and without capitals.

    Raises:
        DatasetError: if it cannot be a prompt.
    """
    try:
        return check_prompt(text.casefold() if isinstance(text, str) else text)
    except ArgumentError as error:
        raise DatasetError(
            "a caption that cannot be a prompt",
            given=f"{where}: {shown(text)}",
            allowed=error.allowed,
            remedy="mend it",
        ) from error
