"""Checks of the actions that callers hand to `step`; they change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamdit_gym.checks import check_prompt, shown
from streamdit_gym.envs.arrays import as_array, describe
from streamdit_gym.errors import ActionError, ArgumentError


def check_menu_actions(actions: Any, num_envs: int, num_actions: int) -> list[int]:
    """Return one menu action per row.

    Raises:
        ActionError: if they are something else, or out of range.
    """
    array = as_array(actions)
    if array is None or array.shape != (num_envs,) or array.dtype.kind not in "iu":
        raise ActionError(
            "actions of the wrong shape or type",
            given=describe(actions) if array is None else f"{array.dtype} {array.shape}",
            allowed=f"integers ({num_envs},)",
            remedy="env.action_space.sample()",
        )
    if (array < 0).any() or (array >= num_actions).any():
        raise ActionError(
            "no such action",
            given=shown(array.tolist()),
            allowed=f"0..{num_actions - 1}",
            remedy="see env.unwrapped.world_spec.menu",
        )
    numbers: list[int] = array.tolist()
    return numbers


def check_prompts(actions: Any, num_envs: int) -> list[str]:
    """Return one prompt per row.

    Raises:
        ActionError: if they are something else, or no prompts.
    """
    is_array = isinstance(actions, np.ndarray) and actions.ndim == 1
    is_list = is_array or isinstance(actions, (list, tuple))
    if not is_list or len(actions) != num_envs:
        raise _not_prompts(describe(actions), f"{num_envs} strings, in a list or tuple")
    try:
        return [check_prompt(text) for text in actions]
    except ArgumentError as error:
        allowed = f"{num_envs} strings, each of {error.allowed}"
        raise _not_prompts(error.given, allowed) from error


def _not_prompts(given: object, allowed: str) -> ActionError:
    return ActionError(
        "not one text per environment",
        given=given,
        allowed=allowed,
        remedy="say what should happen",
    )


def single_action(action: Any, kind: str) -> Sequence[Any]:
    """Return a single environment's action as those of a batch with one row.

    Raises:
        ActionError: if it is not one number.
    """
    if kind == "text":
        return [action]
    array = as_array(action)
    if array is None or array.size != 1:
        raise ActionError(
            "one action at a time",
            given=describe(action) if array is None else f"shape {array.shape}",
            allowed="one integer",
            remedy="use make_vec for batches",
        )
    return array.reshape(-1)  # type: ignore[return-value]
