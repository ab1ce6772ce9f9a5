"""Prompts of open models: any sentence, embedded once by the model's own text encoder."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from streamdit_gym.errors import ArgumentError, ShapeError
from streamdit_gym.types import Conditioning

MAX_TEXT = 4096  # characters
# Sentences whose embeddings are kept, 16 KB a token; older ones are embedded again when needed, so
# that a stream that is steered for days does not fill the memory.
MAX_EMBEDDED = 256
# from texts to embeddings of their tokens, without padding
Encode = Callable[[Sequence[str]], list[Float[Tensor, "l e"]]]


class OpenPrompts:
    """A growing table of sentences, with the embeddings of those that were used last.

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
        self._row_of: dict[str, int] = {}
        self._embeddings: OrderedDict[int, Float[Tensor, "l e"]] = OrderedDict()
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
                raise too_long(text, f"{len(text)} characters", f"{MAX_TEXT} characters")
        new = [text for text in dict.fromkeys(texts) if text not in self._row_of]
        # one by one: what a sentence becomes does not depend on the others
        embedded = [self._encode([text])[0] for text in new]
        for text, tokens in zip(new, embedded, strict=True):
            if len(tokens) > self.length:
                raise too_long(text, f"{len(tokens)} tokens", f"{self.length} tokens")
        for text, tokens in zip(new, embedded, strict=True):
            row = len(self.texts)
            self.texts.append(text)
            self._row_of[text] = row
            self._keep(row, tokens)
        return torch.tensor([self._row_of[text] for text in texts])

    def conditioning(self, prompts: Int[Tensor, "b f"]) -> Conditioning:
        """Return the embeddings of the sentences that these frames have."""
        rows, index = prompts.unique(return_inverse=True)
        used = [int(row) for row in rows if row >= 0]
        device = prompts.device
        embeddings = [self._embedding(row) for row in used]
        width = next(iter(self._embeddings.values())).shape[-1]
        tokens = torch.zeros(len(used), self.length, width, device=device)
        mask = torch.zeros(len(used), self.length, dtype=torch.bool, device=device)
        for number, embedded in enumerate(embeddings):
            tokens[number, : len(embedded)] = embedded.to(device)
            mask[number, : len(embedded)] = True
        first = int((rows < 0).sum())  # the negative prompt, if a frame has it, sorts first
        return Conditioning(tokens=tokens, mask=mask, pooled=tokens.mean(1), index=index - first)

    def distinct(self, prompts: Int[Tensor, "b f"]) -> Conditioning:
        """Return the embeddings of the sentences that these frames have."""
        return self.conditioning(prompts)

    def to(self, device: str, dtype: torch.dtype) -> OpenPrompts:
        """Return these prompts: embeddings go to where their frames are."""
        return self

    def _embedding(self, row: int) -> Float[Tensor, "l e"]:
        """Return a sentence's embedding, which stays where it was made."""
        embedded = self._embeddings.get(row)
        if embedded is None:
            embedded = self._encode([self.texts[row]])[0]
        self._keep(row, embedded)
        return embedded

    def _keep(self, row: int, embedded: Float[Tensor, "l e"]) -> None:
        """Keep an embedding, and forget the one that was not used for longest."""
        self._embeddings[row] = embedded
        self._embeddings.move_to_end(row)
        if len(self._embeddings) > MAX_EMBEDDED:
            self._embeddings.popitem(last=False)


def too_long(text: str, given: str, allowed: str) -> ArgumentError:
    """Return the error for a sentence that a model does not take."""
    return ArgumentError(
        "a prompt is longer than the model takes",
        given=f"{given}: {text[:40]!r} ...",
        allowed=f"at most {allowed}",
        remedy="say it in fewer words",
    )
