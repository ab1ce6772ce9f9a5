"""Rows whose numbers are not finite: the environment ends them at once and hides the numbers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def find_faults(
    finite: Bool[Tensor, " n"],
    scores: Float[Tensor, "n m"],
    rewards: Float[Tensor, " n"] | None = None,
) -> Bool[Tensor, " n"]:
    """Return which rows have a number that is not finite.

    Args:
        finite: whether everything is finite that makes a row's frames.
        scores: of the newest frames.
        rewards: of the step, if there are any.
    """
    has_finite_scores = scores.isfinite().all(1)
    is_healthy = finite & has_finite_scores
    if rewards is not None:
        is_healthy = is_healthy & rewards.isfinite()
    return ~is_healthy


def where_rows(rows: Bool[Tensor, " n"], new: Tensor, old: Tensor | float) -> Tensor:
    """Return new numbers, but the old ones in rows that are True."""
    trailing_axes = [1] * (new.ndim - 1)
    is_old = rows.reshape(-1, *trailing_axes)
    if not isinstance(old, Tensor):
        old = torch.full_like(new, old)
    return torch.where(is_old, old, new)
