"""Noise on prompts, so that a network in training learns no phrase by heart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from streamdit_gym.text.prompt_protocol import Prompts, PromptSource
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.text.spoken_table import SpokenTable
from streamdit_gym.types import Conditioning

MAX_VALUE_NOISE = 0.05  # of prompts that are values of a box


def without_some_prompts(prompts: Prompts, probability: float) -> Prompts:
    """Return prompts of which some are missing."""
    chance = torch.rand(prompts.shape[:2], device=prompts.device)
    is_missing = chance < probability
    if prompts.is_floating_point():
        return prompts.masked_fill(is_missing[..., None], torch.nan)
    return prompts.masked_fill(is_missing, -1)


@dataclass(frozen=True)
class PromptCorruption:
    """Put noise on embeddings and hide tokens.

    Attributes:
        pooled_std: standard deviation of a table's pooled embeddings.
        token_std: likewise of its tokens.
        noise: in these standard deviations.
        token_dropout: largest share of tokens that is hidden, in half of the prompts; never the
            pooled embedding.
    """

    pooled_std: float
    token_std: float
    noise: float
    token_dropout: float

    @classmethod
    def of_prompts(
        cls, prompts: PromptSource, noise: float, token_dropout: float
    ) -> PromptCorruption:
        """Return the corruption for the prompts of a menu or of a box.

        Every token of a box is a dimension's value, and nobody says it in other words. So none is
        hidden, and noise would only blur the value.
        """
        if isinstance(prompts, PromptTable):
            return cls.of_table(prompts, noise, token_dropout)
        assert isinstance(prompts, SpokenTable)
        std = prompts.words.std().item()
        noise = min(noise, MAX_VALUE_NOISE)
        return cls(pooled_std=std, token_std=std, noise=noise, token_dropout=0.0)

    @classmethod
    def of_table(cls, table: PromptTable, noise: float, token_dropout: float) -> PromptCorruption:
        """Return the corruption for the prompts of a table."""
        return cls(
            pooled_std=table.pooled.std().item(),
            token_std=table.tokens[table.mask].std().item(),
            noise=noise,
            token_dropout=token_dropout,
        )

    def __call__(self, prompts: Conditioning) -> Conditioning:
        """Return corrupted prompts."""
        visible = self._visible_tokens(prompts.mask)
        mask = prompts.mask & visible
        token_scale = self.noise * self.token_std
        token_noise = token_scale * torch.randn_like(prompts.tokens)
        pooled_scale = self.noise * self.pooled_std
        pooled_noise = pooled_scale * torch.randn_like(prompts.pooled)
        return replace(
            prompts,
            tokens=prompts.tokens + token_noise * mask[..., None],
            mask=mask,
            pooled=prompts.pooled + pooled_noise,
        )

    def _visible_tokens(self, mask: Bool[Tensor, "u l"]) -> Bool[Tensor, "u l"]:
        device = mask.device
        # half of the prompts get a share below zero, and so keep all of their tokens
        share = 2 * torch.rand(len(mask), 1, device=device) - 1
        hidden_share = self.token_dropout * share.clamp(min=0)
        chance = torch.rand(mask.shape, device=device)
        visible = chance >= hidden_share
        visible[:, 0] = True  # attention needs at least one token
        return visible
