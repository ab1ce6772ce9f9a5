"""The infos of a batch of environments, in Gymnasium's form: an array and a mask for every key."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool


def with_masks(info: dict[str, Any], mask: Bool[np.ndarray, " n"]) -> dict[str, Any]:
    """Return infos with a mask ``_key`` for every key: which rows it is about."""
    masks = {f"_{key}": mask.copy() for key in info}
    return info | masks


def with_final(
    new_info: dict[str, Any],
    final_info: dict[str, Any],
    final_observations: Any,
    ended: Bool[np.ndarray, " n"],
) -> dict[str, Any]:
    """Return the infos of a step that has ended some rows and started them anew.

    Args:
        new_info: of all rows; of rows that have ended, it is of their new episodes.
        final_info: of all rows before that.
        final_observations: of the rows that have ended.
        ended: which these are.
    """
    masked = {}
    for key, value in final_info.items():
        is_mask = key.startswith("_")
        masked[key] = ended.copy() if is_mask else value
    return {
        **new_info,
        "final_obs": final_observations,
        "_final_obs": ended,
        "final_info": masked,
        "_final_info": ended.copy(),
    }
