"""Prompts as a network in training hears them.

Takes: embedded prompts.  Gives: the same, disturbed.  Knows nothing of: frames, losses.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.types import Conditioning


def spread_of(table: PromptTable) -> tuple[float, float]:
    """Return the standard deviation of a table's pooled embeddings and of its tokens'."""
    return table.pooled.std().item(), table.tokens[table.mask].std().item()


def disturbed(
    said: Conditioning, spread: tuple[float, float], noise: float, hidden: float
) -> Conditioning:
    """Return prompts with noise on their embeddings and tokens hidden, so that no phrase is learned
    by heart.

    Args:
        said: the prompts.
        spread: see `spread_of`.
        noise: in standard deviations.
        hidden: largest share of tokens that is hidden, in half of the prompts (no word is learned
            by heart); never the pooled embedding.
    """
    share = hidden * (2 * torch.rand(len(said.mask), 1, device=said.mask.device) - 1).clamp(min=0)
    seen = torch.rand(said.mask.shape, device=said.mask.device) >= share
    seen[:, 0] = True  # a prompt without any token would leave attention nothing to look at
    mask = said.mask & seen
    tokens = said.tokens + noise * spread[1] * torch.randn_like(said.tokens) * mask[..., None]
    pooled = said.pooled + noise * spread[0] * torch.randn_like(said.pooled)
    return replace(said, tokens=tokens, mask=mask, pooled=pooled)
