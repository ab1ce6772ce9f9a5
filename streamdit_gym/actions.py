"""How prompts name a world's actions: a menu of phrases, or words along each dimension of a box.

An action language says which actions there are, and which prompt each one is. Environments turn it
into a Gymnasium space: `Menu` into ``Discrete``, `SpokenBox` into ``Box``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

CLAUSE_SEPARATOR = "; "
MIN_WORDS = 2  # of a dimension: its low and its high end
# dimension and end (0 low, 1 high) of a direction that no word names
DEFAULT_ENDS = {"left": (0, 0), "right": (0, 1), "down": (1, 0), "up": (1, 1)}


@dataclass(frozen=True, init=False)
class Menu:
    """A numbered list of actions, each with the phrases that ask for it.

    Attributes:
        phrases: for every action, its phrases; the first one is the environment's prompt, the
            others are paraphrases for training and for free text.
    """

    phrases: tuple[tuple[str, ...], ...]

    def __init__(self, *actions: str | Sequence[str]) -> None:
        """Name the actions in their order.

        Args:
            actions: a phrase, or several that mean the same; the first action should be idle.
        """
        phrases = tuple(_phrases(action) for action in actions)
        object.__setattr__(self, "phrases", phrases)

    def __len__(self) -> int:
        """Return the number of actions."""
        return len(self.phrases)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return ()

    @property
    def dtype(self) -> type[np.generic]:
        """Type of recorded actions."""
        return np.int16

    @property
    def idle(self) -> Int[np.ndarray, ""]:
        """The action of streams that nobody has prompted yet."""
        return np.array(0, dtype=self.dtype)

    def prompt(self, action: Any) -> str:
        """Return the prompt of an action."""
        return self.phrases[int(action)][0]


@dataclass(frozen=True, init=False)
class SpokenBox:
    """Continuous actions of several dimensions, each said with words from its low to its high end.

    The words of a dimension stand at equal distances. A prompt is a list of clauses, one for each
    dimension, such as ``"shoulder left; elbow still"``. A value between two words is conditioned on
    the weighted mean of their embeddings, so control is continuous.

    Attributes:
        names: of the dimensions.
        words: of every dimension, from its low end to its high end.
        low: value of every dimension's first word.
        high: value of every dimension's last word.
    """

    names: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __init__(
        self,
        dimensions: Mapping[str, Sequence[str]] | None = None,
        /,
        *,
        low: float | Sequence[float] = -1.0,
        high: float | Sequence[float] = 1.0,
        **words: Sequence[str],
    ) -> None:
        """Name the dimensions in their order.

        Args:
            dimensions: words by dimension; for names that are no Python identifiers.
            low: the dimensions' low ends, one number for all or one each.
            high: likewise their high ends.
            words: words by dimension.
        """
        named = {**(dimensions or {}), **words}
        object.__setattr__(self, "names", tuple(named))
        object.__setattr__(self, "words", tuple(_phrases(each) for each in named.values()))
        object.__setattr__(self, "low", _bounds(low, len(named)))
        object.__setattr__(self, "high", _bounds(high, len(named)))

    def __len__(self) -> int:
        """Return the number of dimensions."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return (len(self),)

    @property
    def dtype(self) -> type[np.generic]:
        """Type of recorded actions."""
        return np.float32

    @property
    def idle(self) -> Float[np.ndarray, " d"]:
        """The action of streams that nobody has prompted yet: zero, or what is nearest to it."""
        return np.clip(np.zeros(len(self), self.dtype), self.low, self.high).astype(self.dtype)

    @property
    def clauses(self) -> list[str]:
        """Every dimension's clauses, from its low to its high end, dimension by dimension."""
        return [
            clause(name, word)
            for name, words in zip(self.names, self.words, strict=True)
            for word in words
        ]

    def positions(self, values: Float[np.ndarray, "*b d"]) -> Float[np.ndarray, "*b d"]:
        """Return where values stand among their dimension's words: 0 at the first.

        Values outside the box are moved to its border.
        """
        low = np.asarray(self.low, dtype=np.float64)
        high = np.asarray(self.high, dtype=np.float64)
        last_word = np.array([len(words) - 1 for words in self.words])
        share = (np.clip(values, low, high) - low) / (high - low)
        return (share * last_word).astype(np.float32)

    def values(self, positions: Float[np.ndarray, "*b d"]) -> Float[np.ndarray, "*b d"]:
        """Return the values that stand at positions among their dimension's words."""
        low = np.asarray(self.low, dtype=np.float64)
        high = np.asarray(self.high, dtype=np.float64)
        last_word = np.array([len(words) - 1 for words in self.words])
        return (low + positions / last_word * (high - low)).astype(np.float32)

    def prompt(self, action: Float[np.ndarray, " d"]) -> str:
        """Return the prompt of an action: its values' nearest words."""
        nearest = np.rint(self.positions(np.asarray(action))).astype(int).tolist()
        clauses = []
        for name, words, place in zip(self.names, self.words, nearest, strict=True):
            clauses.append(clause(name, words[place]))
        return CLAUSE_SEPARATOR.join(clauses)


ActionLanguage = Menu | SpokenBox


def needed_phrases(actions: ActionLanguage) -> list[str]:
    """Return the texts that must be embedded before a stream can move."""
    if isinstance(actions, SpokenBox):
        return actions.clauses
    return [phrases[0] for phrases in actions.phrases]


def stored_actions(actions: ActionLanguage) -> dict[str, Any]:
    """Return an action language as files hold it."""
    if isinstance(actions, Menu):
        return {"menu": [list(phrases) for phrases in actions.phrases]}
    box = {
        "names": list(actions.names),
        "words": [list(words) for words in actions.words],
        "low": list(actions.low),
        "high": list(actions.high),
    }
    return {"menu": [], "actions": box}


def loaded_actions(stored: Mapping[str, Any]) -> ActionLanguage:
    """Return the action language that a file holds, unchecked."""
    if stored["menu"]:
        return Menu(*stored["menu"])
    box = stored["actions"]
    words = dict(zip(box["names"], box["words"], strict=True))
    return SpokenBox(words, low=box["low"], high=box["high"])


def clause(name: str, word: str) -> str:
    """Return what is said of one dimension."""
    return f"{name} {word}"


def direction_ends(box: SpokenBox) -> dict[str, tuple[int, float]]:
    """Return which dimension, and which of its ends, each direction moves.

    It is the first end whose word names the direction. Where none does, left and right are the low
    and the high end of the first dimension, down and up those of the second one.
    """
    ends = {}
    for direction, (dimension, is_high) in DEFAULT_ENDS.items():
        named = [
            (i, side)
            for i, words in enumerate(box.words)
            for side, word in enumerate((words[0], words[-1]))
            if direction in word.lower().split()
        ]
        if not named and dimension >= len(box):
            continue
        place, side = named[0] if named else (dimension, is_high)
        ends[direction] = (place, (box.low, box.high)[side][place])
    return ends


def action_names(actions: ActionLanguage) -> tuple[str, ...]:
    """Return a name for every number of an action: a box's dimensions, or a menu's actions."""
    if isinstance(actions, SpokenBox):
        return actions.names
    return tuple(phrases[0] for phrases in actions.phrases)


def num_action_numbers(language: ActionLanguage) -> int:
    """Return how many numbers `action_numbers` makes of an action."""
    return len(language)


def action_numbers(language: ActionLanguage, actions: Any) -> Float[np.ndarray, "*b a"]:
    """Return actions as numbers for a network: values of a box from -1 to 1, else one-hot.

    Args:
        language: of the world.
        actions: numbers of a menu (b), or values of a box (b, d).
    """
    if isinstance(language, Menu):
        one_hot = np.eye(len(language), dtype=np.float32)
        return one_hot[np.asarray(actions, dtype=np.int64)]
    low = np.asarray(language.low, dtype=np.float64)
    high = np.asarray(language.high, dtype=np.float64)
    values = np.clip(actions, low, high)
    return (2 * (values - low) / (high - low) - 1).astype(np.float32)


def _phrases(action: str | Sequence[str]) -> tuple[str, ...]:
    return (action,) if isinstance(action, str) else tuple(action)


def _bounds(bounds: float | Sequence[float], count: int) -> tuple[float, ...]:
    if isinstance(bounds, (int, float)):
        return (float(bounds),) * count
    return tuple(float(bound) for bound in bounds)
