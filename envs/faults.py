"""Rows whose numbers are not finite: the environment ends them at once and hides the numbers."""

from __future__ import annotations

import numpy as np
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
    is_healthy = finite & scores.isfinite().all(1)
    if rewards is not None:
        is_healthy = is_healthy & rewards.isfinite()
    return ~is_healthy


def without(fault: Bool[np.ndarray, " n"], new: Tensor, old: Tensor | float) -> Tensor:
    """Return new numbers, but old ones in rows that have a fault."""
    trailing_axes = [1] * (new.ndim - 1)
    rows = torch.from_numpy(fault).to(new.device).reshape(-1, *trailing_axes)
    replacement = old if isinstance(old, Tensor) else torch.full_like(new, old)
    return torch.where(rows, replacement, new)
