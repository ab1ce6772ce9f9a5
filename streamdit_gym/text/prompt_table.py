"""The table of prompts that are embedded already.

A world carries its menu's rows, so stepping through the menu needs no encoder; any other text is
embedded once, when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from streamdit_gym.errors import ShapeError
from streamdit_gym.text.prompt_encoder import MAX_PROMPT_TOKENS, PromptEncoder
from streamdit_gym.types import Conditioning

# Rows are padded to the longest prompt. A token costs 1.5 KB here and 9 KB in the small preset's
# prepared prompts.
MAX_TABLE_TOKENS = 2**17


class PromptTable:
    """Embeddings of prompts, one row each; a row never changes once given out.

    Args:
        phrases: texts of the rows.
        tokens: their token embeddings, padded.
        mask: True where a token is real.
        pooled: their pooled embeddings.
        make_encoder: makes the encoder when a text is not in the table; called at most once.
        most: largest number of rows.
    """

    def __init__(
        self,
        phrases: list[str],
        tokens: Float[Tensor, "u l e"],
        mask: Bool[Tensor, "u l"],
        pooled: Float[Tensor, "u e"],
        make_encoder: Callable[[], PromptEncoder] | None = None,
        most: int = 4096,
    ) -> None:
        self.phrases = list(phrases)
        self.tokens = tokens
        self.mask = mask
        self.pooled = pooled
        self._rows = {phrase: row for row, phrase in enumerate(phrases)}
        self._make_encoder = make_encoder
        self._most = most
        self._encoder: PromptEncoder | None = None

    @classmethod
    def from_encoder(cls, encoder: PromptEncoder, phrases: list[str]) -> PromptTable:
        """Embed some phrases."""
        return cls(phrases, *encoder.encode(phrases), make_encoder=lambda: encoder)

    def rows(self, texts: list[str]) -> Int[Tensor, " n"]:
        """Return the rows of some texts, embedding those that are new.

        Raises:
            ShapeError: if a text is empty, or the table is full.
            ArgumentError: if a text has more tokens than the encoder takes.
            MissingExtraError: if a new text needs an encoder that is not installed.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if new:
            self._add(new)
        return torch.tensor([self._rows[text] for text in texts], dtype=torch.long)

    @property
    def prompt_shape(self) -> tuple[int, ...]:
        """A prompt is one row."""
        return ()

    @property
    def idle_prompt(self) -> Int[Tensor, ""]:
        """The first row: a menu's first phrase is its idle one."""
        return torch.tensor(0)

    @property
    def no_prompt(self) -> Int[Tensor, ""]:
        """No row."""
        return torch.tensor(-1)

    def of_texts(self, texts: list[str]) -> Int[Tensor, " n"]:
        """Return the rows of some texts; see `rows`."""
        return self.rows(texts)

    def between(self, first: str, second: str, share: float) -> int:
        """Return the row of a prompt between two.

        Its embeddings are mixed: a share of the way from the first to the second.

        Raises:
            ShapeError, MissingExtraError: as :meth:`rows`.
        """
        name = f"{share:.3f} of the way from {first!r} to {second!r}"
        ends = self.rows([first, second])
        if name not in self._rows:
            length = self.tokens.shape[1]
            self._check_room(1, length)
            tokens = _mixed(self.tokens[ends], share)
            pooled = _mixed(self.pooled[ends], share)
            masks = self.mask[ends]
            mask = masks.any(0)
            self._append([name], tokens[None], mask[None], pooled[None])
        return self._rows[name]

    def only(self, phrases: list[str], most: int | None = None) -> PromptTable:
        """Return a table of some of the phrases, with room for others.

        Args:
            phrases: the phrases.
            most: largest number of rows; None: as here.
        """
        rows = self.rows(phrases)
        mask = self.mask[rows]
        longest = int(mask.any(0).sum())  # other phrases may have been longer
        table = PromptTable(
            phrases,
            self.tokens[rows, :longest],
            mask[:, :longest],
            self.pooled[rows],
            self._make_encoder,
            self._most if most is None else most,
        )
        table._encoder = self._encoder  # loading it again takes seconds
        return table

    @property
    def room(self) -> int:
        """How many more prompts fit in, however long."""
        return max(0, self._max_rows(MAX_PROMPT_TOKENS) - len(self.phrases))

    def conditioning(self, index: Int[Tensor, "b f"]) -> Conditioning:
        """Return the whole table with an index into it."""
        return Conditioning(tokens=self.tokens, mask=self.mask, pooled=self.pooled, index=index)

    def distinct(self, index: Int[Tensor, "b f"]) -> Conditioning:
        """Return only the prompts that an index names, and the index into them."""
        rows, compact = index.unique(return_inverse=True)
        missing = int(rows[0] < 0)
        rows = rows[missing:]
        return Conditioning(
            tokens=self.tokens[rows],
            mask=self.mask[rows],
            pooled=self.pooled[rows],
            index=compact - missing,
        )

    def to(self, device: str, dtype: torch.dtype) -> PromptTable:
        """Return the table on a device, with embeddings of a dtype."""
        return PromptTable(
            self.phrases,
            self.tokens.to(device, dtype),
            self.mask.to(device),
            self.pooled.to(device, dtype),
            self._make_encoder,
            self._most,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the embeddings for a bundle; the phrases go beside them."""
        return {"tokens": self.tokens, "mask": self.mask, "pooled": self.pooled}

    def _add(self, texts: list[str]) -> None:
        """Embed new texts and append them."""
        if any(not text.strip() for text in texts):
            raise ShapeError(
                "an empty prompt", given=repr(""), allowed="text", remedy="say what should happen"
            )
        self._check_room(len(texts), self.tokens.shape[1])  # before the work
        encoder = self._load_encoder(texts[0])
        tokens, mask, pooled = encoder.encode(texts)
        self._check_room(len(texts), tokens.shape[1])
        self._append(texts, tokens, mask, pooled)

    def _load_encoder(self, text: str) -> PromptEncoder:
        """Return the encoder; `text` is what needs it."""
        if self._encoder is None:
            if self._make_encoder is None:
                raise ShapeError(
                    "this table has no encoder for new text",
                    given=text,
                    allowed="its phrases",
                    remedy="use a phrase of the menu",
                )
            self._encoder = self._make_encoder()
        return self._encoder

    def _max_rows(self, length: int) -> int:
        """Return how many rows fit in, if new prompts have so many tokens."""
        longest = max(1, length, self.tokens.shape[1])
        return min(self._most, MAX_TABLE_TOKENS // longest)

    def _check_room(self, more: int, length: int) -> None:
        """Refuse more prompts of so many tokens than fit in."""
        rows = len(self.phrases) + more
        most = self._max_rows(length)
        if rows > most:
            longest = max(length, self.tokens.shape[1])
            raise ShapeError(
                "too many distinct prompts",
                given=f"{rows}, of up to {longest} tokens",
                allowed=f"{most} of that length ({self._most} short ones)",
                remedy="say the same in words already used, and in fewer of them",
            )

    def _append(
        self,
        texts: list[str],
        tokens: Float[Tensor, "u l e"],
        mask: Bool[Tensor, "u l"],
        pooled: Float[Tensor, "u e"],
    ) -> None:
        longest = max(tokens.shape[1], self.tokens.shape[1])
        self.tokens = _append_rows(
            pad_tokens(self.tokens, longest),
            pad_tokens(tokens, longest),
        )
        self.mask = _append_rows(
            pad_tokens(self.mask, longest),
            pad_tokens(mask, longest),
        )
        self.pooled = _append_rows(self.pooled, pooled)
        for text in texts:
            self._rows[text] = len(self.phrases)
            self.phrases.append(text)


def pad_tokens(x: Tensor, length: int) -> Tensor:
    """Pad tokens (u, l, e) or their mask (u, l) to a length."""
    axes_behind = x.ndim - 2
    missing = length - x.shape[1]
    return functional.pad(x, (0, 0) * axes_behind + (0, missing))


def _mixed(ends: Tensor, share: float) -> Tensor:
    """Return what lies a share of the way from the first of two rows to the second."""
    first, second = ends
    return torch.lerp(first, second, share)


def _append_rows(table: Tensor, rows: Tensor) -> Tensor:
    rows = rows.to(table.device, table.dtype)
    return torch.cat([table, rows])
