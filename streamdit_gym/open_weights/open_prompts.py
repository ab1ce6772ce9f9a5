"""Prompts of open models: any sentence, embedded once by the model's own text encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from streamdit_gym.errors import ArgumentError, ShapeError
from streamdit_gym.types import Conditioning

MAX_TEXT = 4096  # characters
# from texts to embeddings of their tokens, without padding
Encode = Callable[[Sequence[str]], list[Float[Tensor, "l e"]]]


class OpenPrompts:
    """A growing table of sentences.

    Args:
        encode: embeds sentences.
        length: tokens that the model takes; shorter sentences have zeros behind them.
        idle: the sentence of streams that nobody has prompted yet.

    Attributes:
        texts: the sentences, by row.
    """

    def __init__(self, encode: Encode, length: int, idle: str) -> None:
        self._encode = encode
        self.length = length
        self.texts: list[str] = []
        self._rows: list[Float[Tensor, "l e"]] = []
        self._idle = int(self.of_texts([idle])[0])

    @property
    def prompt_shape(self) -> tuple[int, ...]:
        """One number for every prompt."""
        return ()

    @property
    def idle_prompt(self) -> Int[Tensor, ""]:
        """The row of the idle sentence."""
        return torch.tensor(self._idle)

    @property
    def no_prompt(self) -> Int[Tensor, ""]:
        """The row that stands for the negative prompt."""
        return torch.tensor(-1)

    def of_texts(self, texts: list[str]) -> Int[Tensor, " n"]:
        """Return the rows of sentences; those that are new are embedded.

        Raises:
            ShapeError: if a sentence is empty.
            ArgumentError: if one is longer than the model takes; nothing is added then.
        """
        for text in texts:
            if not text.strip():
                remedy = "write what the stream shall show"
                raise ShapeError("an empty prompt", given=text, allowed="a sentence", remedy=remedy)
            if len(text) > MAX_TEXT:
                raise self._too_long(text, f"{len(text)} characters", f"{MAX_TEXT} characters")
        new = [text for text in dict.fromkeys(texts) if text not in self.texts]
        embedded = self._encode(new) if new else []
        for text, tokens in zip(new, embedded, strict=True):
            if len(tokens) > self.length:
                raise self._too_long(text, f"{len(tokens)} tokens", f"{self.length} tokens")
        self.texts += new
        self._rows += embedded
        return torch.tensor([self.texts.index(text) for text in texts])

    def conditioning(self, prompts: Int[Tensor, "b f"]) -> Conditioning:
        """Return the embeddings of the sentences that these frames have."""
        rows, index = prompts.unique(return_inverse=True)
        used = [int(row) for row in rows if row >= 0]
        device = prompts.device
        width = self._rows[0].shape[-1]
        tokens = torch.zeros(len(used), self.length, width, device=device)
        mask = torch.zeros(len(used), self.length, dtype=torch.bool, device=device)
        for number, row in enumerate(used):
            # a sentence goes to the device once
            embedded = self._rows[row] = self._rows[row].to(device)
            tokens[number, : len(embedded)] = embedded
            mask[number, : len(embedded)] = True
        first = int((rows < 0).sum())  # the negative prompt, if a frame has it, sorts first
        return Conditioning(tokens=tokens, mask=mask, pooled=tokens.mean(1), index=index - first)

    def distinct(self, prompts: Int[Tensor, "b f"]) -> Conditioning:
        """Return the embeddings of the sentences that these frames have."""
        return self.conditioning(prompts)

    def to(self, device: str, dtype: torch.dtype) -> OpenPrompts:
        """Return these prompts: embeddings go to where their frames are."""
        return self

    def _too_long(self, text: str, given: str, allowed: str) -> ArgumentError:
        return ArgumentError(
            "a prompt is longer than the model takes",
            given=f"{given}: {text[:40]!r} ...",
            allowed=f"at most {allowed}",
            remedy="say it in fewer words",
        )
