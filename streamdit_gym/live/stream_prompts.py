"""A stream's prompts as its engine takes them: rows of a table, or positions in a box."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from streamdit_gym.actions import ActionLanguage, SpokenBox, direction_ends
from streamdit_gym.text.prompt_protocol import Prompt, PromptSource
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.text.spoken_table import SpokenTable


class StreamPrompts(Protocol):
    """Turns texts into the engine's prompts, and back."""

    @property
    def source(self) -> PromptSource:
        """What the engine takes them from."""

    def prompt_of(self, text: str) -> Prompt:
        """Return the prompt that a text is."""

    def mixture(self, before: str, after: str, weight: float) -> Prompt:
        """Return a prompt between those of two texts; weight 0 is the first one's."""

    def text_of(self, prompt: Prompt) -> str:
        """Return what a prompt says; empty if it is none."""


class TablePrompts:
    """The prompts of a menu and of free texts: rows of a table.

    Args:
        table: embeds them.
    """

    def __init__(self, table: PromptTable) -> None:
        self.source = table

    def prompt_of(self, text: str) -> Prompt:
        """Return a text's row."""
        return self.source.rows([text])[0]

    def mixture(self, before: str, after: str, weight: float) -> Prompt:
        """Return the row of a mixture; without room for it, that of the second text."""
        if not self.source.room:
            return self.prompt_of(after)
        return torch.tensor(self.source.between(before, after, weight))

    def text_of(self, prompt: Prompt) -> str:
        """Return a row's text."""
        row = int(prompt)
        return self.source.phrases[row] if row >= 0 else ""


class BoxPrompts:
    """The prompts of continuous actions: positions among the words of their dimensions.

    Args:
        box: the actions.
        table: embeds their clauses.
    """

    def __init__(self, box: SpokenBox, table: PromptTable) -> None:
        self.box = box
        self.source = SpokenTable(box, table)

    def prompt_of(self, text: str) -> Prompt:
        """Return the positions that a text asks for."""
        return self.source.of_texts([text])[0]

    def mixture(self, before: str, after: str, weight: float) -> Prompt:
        """Return positions between those of two texts."""
        return torch.lerp(self.prompt_of(before), self.prompt_of(after), weight)

    def text_of(self, prompt: Prompt) -> str:
        """Return the nearest words of positions."""
        if bool(prompt.isnan().any()):
            return ""
        return self.box.prompt(self.values_of(prompt))

    def values_of(self, prompt: Prompt) -> np.ndarray:
        """Return the action at positions."""
        return self.box.values(prompt.cpu().numpy())


def prompts_in(table: PromptTable, language: ActionLanguage) -> TablePrompts | BoxPrompts:
    """Return a stream's prompts, of a table that embeds them."""
    return BoxPrompts(language, table) if isinstance(language, SpokenBox) else TablePrompts(table)


def buttons_of(language: ActionLanguage) -> list[str]:
    """Return the prompts that viewers choose by a button: a menu's actions, or a box's clauses."""
    if isinstance(language, SpokenBox):
        return [language.prompt(language.idle), *language.clauses]
    return [phrases[0] for phrases in language.phrases]


def direction_prompts(language: ActionLanguage) -> dict[str, str]:
    """Return the prompts of the arrow keys in a world with continuous actions.

    Each direction is an end of a dimension, see `direction_ends`; two keys at once are both. Empty
    for a menu, whose phrases name their directions.
    """
    if not isinstance(language, SpokenBox):
        return {}
    ends = direction_ends(language)
    prompts = {}
    for horizontal in ("left", "", "right"):
        for vertical in ("down", "", "up"):
            action = language.idle
            for direction in (vertical, horizontal):
                if direction in ends:
                    dimension, value = ends[direction]
                    action[dimension] = value
            name = " ".join(filter(None, (vertical, horizontal)))
            prompts[name] = language.prompt(action)
    return prompts


def sliders_of(language: ActionLanguage) -> list[dict[str, Any]]:
    """Return what the sliders of a box look like, one for each dimension; empty for a menu.

    A slider's prompt is "NAME VALUE"; its words stand at equal distances from low to high.
    """
    if not isinstance(language, SpokenBox):
        return []
    dimensions = zip(language.names, language.low, language.high, language.words, strict=True)
    return [
        {"name": name, "low": low, "high": high, "words": list(words), "idle": float(idle)}
        for (name, low, high, words), idle in zip(dimensions, language.idle, strict=True)
    ]
