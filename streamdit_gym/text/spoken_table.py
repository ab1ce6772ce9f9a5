"""The prompts of continuous actions: a token for every dimension, between those of its words.

Every clause of a `SpokenBox`, such as "shoulder left", is one token: its pooled sentence embedding.
Sentence encoders put "left" and "hard left" close together, so the words of a dimension are moved
apart. A value between two words is the linear mean of the two.
"""

from __future__ import annotations

import math
import re

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from streamdit_gym.actions import SpokenBox
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.types import Conditioning

SEPARATORS = re.compile(r"[;,]")
WORD = re.compile(r"[^\s.!?]+")
MIN_STEM = 4  # letters
MIN_DISTANCE = 1e-9  # of words that the encoder takes for one
Positions = Float[Tensor, "b f d"]


class SpokenTable:
    """Embeddings of a box's words, and of all values between them.

    A prompt is a position in every dimension, as `SpokenBox.positions` returns it: 0 at the first
    word. NaN in a dimension stands for no prompt.

    Args:
        box: the actions.
        table: holds the box's clauses; embeds the clauses of free texts.
    """

    def __init__(self, box: SpokenBox, table: PromptTable) -> None:
        self.box = box
        self.table = table
        rows = table.rows(box.clauses)  # before the table is read: new clauses are added to it
        clauses = table.pooled[rows]
        counts = torch.tensor([len(words) for words in box.words])
        self.words = standardised_words(clauses, counts.tolist()).to(clauses)
        self._last_word = (counts - 1).to(clauses.device)
        self._first_row = (counts.cumsum(0) - counts).to(clauses.device)

    @property
    def prompt_shape(self) -> tuple[int, ...]:
        """One position for every dimension."""
        return self.box.shape

    @property
    def idle_prompt(self) -> Float[Tensor, " d"]:
        """The position of the box's idle action."""
        return torch.from_numpy(self.box.positions(self.box.idle))

    @property
    def no_prompt(self) -> Float[Tensor, " d"]:
        """No position."""
        return torch.full(self.prompt_shape, torch.nan)

    def of_texts(self, texts: list[str]) -> Float[Tensor, "n d"]:
        """Return the positions that texts ask for.

        A text is cut at ";" and ",". A part such as "shoulder 0.25" is a value of a dimension. Each
        other one means the longest of the box's clauses whose words it holds; where it holds none,
        the clause whose embedding is nearest. Dimensions that no part names are idle.

        Raises:
            ShapeError: if a text has no part, or there is no room for a new one.
            ArgumentError: if a part has more tokens than the encoder takes.
            MissingExtraError: if a new part needs an encoder that is not installed.
        """
        return torch.stack([self._position_of_text(text) for text in texts])

    def conditioning(self, positions: Positions) -> Conditioning:
        """Return one prompt for every frame, of one token for every dimension."""
        frames = positions.shape[:2]
        flat = positions.flatten(0, 1).to(self.words.device)
        is_prompt = ~flat.isnan().any(-1)
        index = torch.arange(len(flat), device=flat.device)
        return self._conditioning(flat, index.where(is_prompt, -1).unflatten(0, frames))

    def distinct(self, positions: Positions) -> Conditioning:
        """Return the embeddings of every frame's prompt: almost all are different."""
        return self.conditioning(positions)

    def to(self, device: str, dtype: torch.dtype) -> SpokenTable:
        """Return these prompts on a device, with embeddings of a dtype."""
        return SpokenTable(self.box, self.table.to(device, dtype))

    def _conditioning(
        self, positions: Float[Tensor, "u d"], index: Int[Tensor, "b f"]
    ) -> Conditioning:
        tokens = self._tokens(positions.nan_to_num(0.0))
        mask: Bool[Tensor, "u d"] = torch.ones_like(positions, dtype=torch.bool)
        return Conditioning(tokens=tokens, mask=mask, pooled=tokens.mean(1), index=index)

    def _tokens(self, positions: Float[Tensor, "u d"]) -> Float[Tensor, "u d e"]:
        """Return the tokens of positions; those beyond the words are moved to the last ones."""
        last = self._last_word
        inside = positions.clamp(min=0).minimum(last)
        lower_word = inside.floor().long().minimum(last - 1)
        share = (inside - lower_word).to(self.words.dtype)
        lower_row = self._first_row + lower_word
        lower = functional.embedding(lower_row, self.words)
        upper = functional.embedding(lower_row + 1, self.words)
        return torch.lerp(lower, upper, share[..., None])

    def _position_of_text(self, text: str) -> Float[Tensor, " d"]:
        position = self.idle_prompt
        parts = [part.strip() for part in SEPARATORS.split(text)]
        for part in [part for part in parts if part] or [text]:
            value = self._value_in(part)
            if value is not None:
                dimension, number = value
                position[dimension] = number
                continue
            row = self._clause_of(part)
            starts = self._first_row.tolist()
            dimension = max(i for i, start in enumerate(starts) if start <= row)
            position[dimension] = row - starts[dimension]
        return position

    def _value_in(self, part: str) -> tuple[int, float] | None:
        """Return the dimension and the position that a part with a number names; None: it is none.

        A word that is a number stays a word.
        """
        name, _, text = part.rpartition(" ")
        if name not in self.box.names or part in self.box.clauses:
            return None
        try:
            value = float(text)
        except ValueError:
            return None
        if not math.isfinite(value):
            return None
        dimension = self.box.names.index(name)
        values = self.box.idle
        values[dimension] = value
        return dimension, float(self.box.positions(values)[dimension])

    def _clause_of(self, part: str) -> int:
        """Return the number of the clause that a part of a text names or means."""
        spoken = _words_of(part)
        contained = []
        for number, clause in enumerate(self.box.clauses):
            words = _words_of(clause)
            if all(_holds(spoken, word) for word in words):
                contained.append((len(words), number))
        if contained:
            return max(contained)[1]
        rows = self.table.rows([part, *self.box.clauses])
        pooled = functional.normalize(self.table.pooled[rows].float(), dim=-1)
        return int((pooled[1:] @ pooled[0]).argmax())


def _words_of(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _holds(spoken: list[str], word: str) -> bool:
    """Return whether a word is among those spoken, or one of them is longer, as "leftwards" is."""
    is_stem = len(word) >= MIN_STEM
    return any(each == word or (is_stem and each.startswith(word)) for each in spoken)


def standardised_words(clauses: Float[Tensor, "u e"], counts: list[int]) -> Float[Tensor, "u e"]:
    """Return the embeddings of a box's clauses, moved apart within each dimension.

    The mean of a dimension's words stays; their rms distance from it becomes that of a typical
    embedding from zero.

    Args:
        clauses: pooled embeddings, dimension by dimension.
        counts: number of words of every dimension.
    """
    exact = clauses.double()
    typical = exact.square().sum(-1).mean().sqrt()
    words = []
    for of_dimension in exact.split(counts):
        mean = of_dimension.mean(0)
        deviations = of_dimension - mean
        distance = deviations.square().sum(-1).mean().sqrt()
        words.append(mean + deviations * (typical / distance.clamp_min(MIN_DISTANCE)))
    return torch.cat(words).to(clauses.dtype)
