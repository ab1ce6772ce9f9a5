"""Checks of the actions that callers hand to `step`; they change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from streamdit_gym.actions import ActionLanguage, SpokenBox
from streamdit_gym.checks import MAX_PROMPT_CHARS, check_prompt, shown
from streamdit_gym.envs.arrays import as_array, describe
from streamdit_gym.errors import ActionError, ArgumentError


def check_actions(actions: Any, num_envs: int, language: ActionLanguage) -> np.ndarray:
    """Return one action per row: numbers of a menu (n,), or values of a box (n, d).

    Raises:
        ActionError: if they are something else, or out of range.
    """
    if isinstance(language, SpokenBox):
        return check_box_actions(actions, num_envs, language)
    return check_menu_actions(actions, num_envs, len(language))


def check_menu_actions(
    actions: Any,
    num_envs: int,
    num_actions: int,
    remedy: str = "see env.unwrapped.world_spec.menu",
) -> Int[np.ndarray, " n"]:
    """Return one menu action per row.

    Args:
        actions: of the caller.
        num_envs: how many there must be.
        num_actions: of the menu.
        remedy: for a number that is none of the menu.

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
            remedy=remedy,
        )
    return array.astype(np.int64)


def check_box_actions(actions: Any, num_envs: int, box: SpokenBox) -> Float[np.ndarray, "n d"]:
    """Return every row's values of a box, a copy.

    Raises:
        ActionError: if they are something else, not finite, or outside the box.
    """
    shape = (num_envs, len(box))
    array = as_array(actions)
    if array is None or array.shape != shape or array.dtype.kind not in "iuf":
        raise ActionError(
            "actions of the wrong shape or type",
            given=describe(actions) if array is None else f"{array.dtype} {array.shape}",
            allowed=f"numbers {shape}: {', '.join(box.names)} of every environment",
            remedy="env.action_space.sample()",
        )
    values = array.astype(box.dtype)
    low = np.array(box.low, dtype=box.dtype)
    high = np.array(box.high, dtype=box.dtype)
    is_inside = (low <= values) & (values <= high)  # NaN is not
    if not is_inside.all():
        row, dimension = np.argwhere(~is_inside)[0].tolist()
        raise ActionError(
            "an action outside the box",
            given=f"{box.names[dimension]} = {values[row, dimension]:g} in environment {row}",
            allowed=f"{low[dimension]:g} to {high[dimension]:g}",
            remedy="np.clip(actions, env.action_space.low, env.action_space.high)",
        )
    return values


def check_prompts(actions: Any, num_envs: int, most: int = MAX_PROMPT_CHARS) -> list[str]:
    """Return one prompt per row.

    Args:
        actions: of the caller.
        num_envs: how many there must be.
        most: characters that a prompt may have.

    Raises:
        ActionError: if they are something else, or no prompts.
    """
    is_array = isinstance(actions, np.ndarray) and actions.ndim == 1
    is_list = is_array or isinstance(actions, (list, tuple))
    if not is_list or len(actions) != num_envs:
        raise _not_prompts(describe(actions), f"{num_envs} strings, in a list or tuple")
    try:
        return [check_prompt(text, most) for text in actions]
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


def single_action(action: Any, language: ActionLanguage) -> np.ndarray:
    """Return a single environment's action as those of a batch with one row.

    Raises:
        ActionError: if it is not one number of a menu, or the values of a box.
    """
    array = as_array(action)
    is_box = isinstance(language, SpokenBox)
    if array is None or (array.shape != language.shape if is_box else array.size != 1):
        raise ActionError(
            "one action at a time",
            given=describe(action) if array is None else f"shape {array.shape}",
            allowed=f"{len(language)} numbers" if is_box else "one integer",
            remedy="use make_vec for batches",
        )
    return array.reshape(1, *language.shape)
