"""Noise on prompts, so that a network in training learns no phrase by heart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.types import Conditioning


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
        mask = prompts.mask & self._visible_tokens(prompts)
        token_noise = self.noise * self.token_std * torch.randn_like(prompts.tokens)
        tokens = prompts.tokens + token_noise * mask[..., None]
        pooled_noise = self.noise * self.pooled_std * torch.randn_like(prompts.pooled)
        return replace(prompts, tokens=tokens, mask=mask, pooled=prompts.pooled + pooled_noise)

    def _visible_tokens(self, prompts: Conditioning) -> torch.Tensor:
        device = prompts.mask.device
        # half of the prompts get a share below zero, and so keep all of their tokens
        share = 2 * torch.rand(len(prompts.mask), 1, device=device) - 1
        hidden_share = self.token_dropout * share.clamp(min=0)
        visible = torch.rand(prompts.mask.shape, device=device) >= hidden_share
        visible[:, 0] = True  # attention needs at least one token
        return visible
