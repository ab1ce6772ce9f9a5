"""The action language of a Gymnasium environment: guessed from its actions, and translated back."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from enum import EnumMeta
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float

from streamdit_gym.actions import ActionLanguage, Menu, SpokenBox
from streamdit_gym.envs.gym_known_envs import (
    ACTIONS,
    ANY_RANGE,
    DIMENSIONS,
    FROM_ZERO,
    SYMMETRIC,
    env_name,
)
from streamdit_gym.envs.gym_making import Env
from streamdit_gym.errors import DefinitionError

MAX_GUESSED_ACTIONS = 256
ALLOWED = "Discrete, or a Box of one axis with finite bounds"


def guess_actions(env: Env, env_id: str) -> ActionLanguage:
    """Return how the actions of an environment can be said.

    Names come from the environment where it has them, else from its documentation where they are
    known here, else they are neutral.

    Raises:
        DefinitionError: if its actions are neither a menu nor a box of one axis.
    """
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return Menu(*_menu_names(env, env_id, int(space.n)))
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return _spoken_box(env, env_id, space)
    raise DefinitionError(
        "no action language for the actions of this environment",
        given=f"{env_id}: {_short(space)}",
        allowed=ALLOWED,
        remedy="wrap the environment so that it has such actions (gymnasium.ActionWrapper), "
        "register that with gymnasium.register, and give its id",
    )


class ActionTranslator:
    """Turns a world's actions into those of a Gymnasium environment.

    Args:
        actions: the world's.
        space: the environment's.
        vectors: each action of a menu as numbers, where the environment's are a box.

    Raises:
        DefinitionError: if they do not fit each other.
    """

    def __init__(
        self,
        actions: ActionLanguage,
        space: spaces.Space[Any],
        vectors: Sequence[Sequence[float]] = (),
    ) -> None:
        self.translate: Callable[[Any], Any]
        if isinstance(actions, SpokenBox):
            self.translate = _box_translation(actions, space)
        elif isinstance(space, spaces.Discrete):
            self.translate = _menu_translation(actions, space)
        else:
            self.translate = _vector_translation(actions, space, vectors)


def _menu_translation(menu: Menu, space: spaces.Discrete) -> Callable[[Any], Any]:
    if len(menu) != space.n:
        raise _does_not_fit(
            f"a Menu of {len(menu)} actions for {_short(space)}", f"{space.n} actions"
        )
    return lambda action: int(space.start) + int(action)


def _vector_translation(
    menu: Menu, space: spaces.Space[Any], vectors: Sequence[Sequence[float]]
) -> Callable[[Any], Any]:
    rows = np.array(vectors, dtype=np.float64)
    is_fitting = isinstance(space, spaces.Box) and rows.shape == (len(menu), *space.shape)
    if not is_fitting:
        raise _does_not_fit(
            f"a Menu of {len(menu)} actions with action_vectors {rows.shape} for {_short(space)}",
            "a SpokenBox, or action_vectors with the environment's action for each of the menu",
        )
    values = rows.astype(space.dtype)
    return lambda action: values[int(action)].copy()


def _box_translation(box: SpokenBox, space: spaces.Space[Any]) -> Callable[[Any], Any]:
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise _does_not_fit(
            f"a SpokenBox for {_short(space)}", "a Menu with a phrase for each action"
        )
    varies = _varies(space)
    if len(box) == int(np.prod(space.shape)):
        varies = np.ones(space.shape, dtype=bool)
    if len(box) != varies.sum():
        raise _does_not_fit(
            f"a SpokenBox of {len(box)} dimensions for {_short(space)}",
            f"{varies.sum()} dimensions",
        )
    low = space.low[varies].astype(np.float64)
    high = space.high[varies].astype(np.float64)
    is_inside = (low <= np.array(box.low) + 1e-6).all() and (
        np.array(box.high) <= high + 1e-6
    ).all()
    if not is_inside:
        raise _does_not_fit(
            f"a SpokenBox from {list(box.low)} to {list(box.high)} for {_short(space)}",
            f"from {low.tolist()} to {high.tolist()}",
        )

    def translate(action: Any) -> Float[np.ndarray, " d"]:
        values = space.low.astype(np.float64)
        values[varies] = action
        return np.clip(values, space.low, space.high).astype(space.dtype)

    return translate


def _spoken_box(env: Env, env_id: str, space: spaces.Box) -> SpokenBox:
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise DefinitionError(
            "actions without bounds",
            given=f"{env_id}: {_short(space)}",
            allowed="finite bounds",
            remedy="give actions=SpokenBox(..., low=..., high=...) with the range that is useful",
        )
    for dimension in np.flatnonzero(~_varies(space)):
        bound = space.low[dimension]
        raise DefinitionError(
            f"dimension {dimension} of the actions never varies",
            given=f"{env_id}: low {bound:g}, high {bound:g}",
            allowed="low < high",
            remedy="give actions=SpokenBox(...) for the other dimensions; this one then stays",
        )
    low = [float(bound) for bound in space.low]
    high = [float(bound) for bound in space.high]
    known = DIMENSIONS.get(env_name(env_id), {})
    if len(known) == len(low):
        return SpokenBox(known, low=low, high=high)
    names = _dimension_names(env, len(low))
    words = {}
    for name, least, most in zip(names, low, high, strict=True):
        words[name] = _words(least, most)
    return SpokenBox(words, low=low, high=high)


def _words(low: float, high: float) -> tuple[str, ...]:
    """Return five words from the low to the high end of a dimension of unknown meaning."""
    if low == 0:
        return FROM_ZERO
    if np.isclose(low, -high):
        return SYMMETRIC
    return ANY_RANGE


def _menu_names(env: Env, env_id: str, count: int) -> list[str]:
    if count > MAX_GUESSED_ACTIONS:
        raise DefinitionError(
            "too many actions to say",
            given=f"{env_id}: {count}",
            allowed=f"{MAX_GUESSED_ACTIONS}",
            remedy="give actions=Menu(...) over an environment with fewer actions",
        )
    for names in (_own_names(env), ACTIONS.get(env_name(env_id), ())):
        is_menu = len(names) == count and len({name.casefold() for name in names}) == count
        if is_menu and all(names):
            return list(names)
    return [f"action {number}" for number in range(count)]


def _own_names(env: Env) -> list[str]:
    """Return what an environment itself calls its actions; empty if it has no names for them."""
    unwrapped: Any = env.unwrapped
    meanings = getattr(unwrapped, "get_action_meanings", None)
    if callable(meanings):
        return [_spoken(str(meaning)) for meaning in meanings()]
    actions = getattr(unwrapped, "actions", None)
    if isinstance(actions, EnumMeta):  # as MiniGrid and MiniWorld have them
        members: Sequence[Any] = sorted(actions, key=lambda member: int(member.value))
        size = int(unwrapped.action_space.n)
        return [_spoken(member.name) for member in members[:size]]
    return []


def _dimension_names(env: Env, count: int) -> list[str]:
    """Return names for the dimensions of a box: MuJoCo's, else they are numbered."""
    names = _actuator_names(env)
    is_named = len(names) == count and len(set(names)) == count and all(names)
    return names if is_named else [f"control {number}" for number in range(count)]


def _actuator_names(env: Env) -> list[str]:
    mujoco = sys.modules.get("mujoco")
    model = getattr(env.unwrapped, "model", None)
    if mujoco is None or not isinstance(model, mujoco.MjModel):
        return []
    names = []
    for number in range(model.nu):
        actuator = model.actuator(number)
        name = actuator.name
        if not name and actuator.trntype[0] == mujoco.mjtTrn.mjTRN_JOINT:
            name = model.joint(actuator.trnid[0]).name
        names.append(_spoken(name.removesuffix("_joint")))
    return names


def _spoken(name: str) -> str:
    """Return a name as words: ``"MOVE_FORWARD"`` becomes ``"move forward"``."""
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name.strip())
    words = words.replace("_", " ").replace("-", " ")
    return " ".join(words.split()).lower()


def _varies(space: spaces.Box) -> Bool[np.ndarray, " d"]:
    return np.asarray(space.low < space.high)


def _short(space: spaces.Space[Any]) -> str:
    text = str(space)
    return text if len(text) <= 120 else f"{type(space).__name__} of shape {space.shape}"


def _does_not_fit(given: str, allowed: str) -> DefinitionError:
    return DefinitionError(
        "actions do not fit the environment's",
        given=given,
        allowed=allowed,
        remedy="change actions, or leave them out and let them be guessed",
    )
