"""Rows whose numbers are no longer finite: found at every step, ended at once, and kept from view.

Takes: numbers of rows.  Gives: which are not finite, and finite ones in their place.  Knows nothing
    of: worlds, episodes.
"""

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
        finite: whether all is well with what makes a row's frames.
        scores: of the newest frames.
        rewards: of the step, if there are any.
    """
    fine = finite & scores.isfinite().all(1)
    return ~fine if rewards is None else ~(fine & rewards.isfinite())


def without(fault: Bool[np.ndarray, " n"], new: Tensor, old: Tensor | float) -> Tensor:
    """Return new numbers, but old ones in rows that have a fault."""
    rows = torch.from_numpy(fault).to(new.device).reshape(-1, *[1] * (new.ndim - 1))
    replacement = old if isinstance(old, Tensor) else torch.full_like(new, old)
    return torch.where(rows, replacement, new)
