"""Arrays and tensors of the caller, whatever they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from streamdit_gym.checks import shown


def as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """Return numbers as an array on the host; None if they are none."""
    try:
        return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    except Exception:  # ragged lists, tensors without numbers, objects that fail when asked
        return None


def describe(value: Any) -> str:
    """Return the type and shape of an array, or else the type and the value."""
    if isinstance(value, (np.ndarray, Tensor)):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"{type(value).__name__} {shown(value)}"
