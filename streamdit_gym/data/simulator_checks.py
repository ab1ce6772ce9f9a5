"""Does a simulator return what its world's definition allows?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.actions import Menu
from streamdit_gym.checks import check_int, shown
from streamdit_gym.data.definition_checks import as_definition_error
from streamdit_gym.definition import StepOutcome, WorldSpec
from streamdit_gym.errors import DefinitionError


def check_frame(spec: WorldSpec, frame: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Return a simulator's frame.

    Raises:
        DefinitionError: if its size, type or channels are not those of the definition.
    """
    expected = spec.frame_shape
    if not isinstance(frame, np.ndarray):
        given = f"{type(frame).__name__} {shown(frame)}"
    elif frame.dtype == np.uint8 and frame.shape == expected:
        return frame
    else:
        given = f"{frame.dtype} {frame.shape}"
    raise DefinitionError(
        "a frame is not what the definition says",
        given=given,
        allowed=f"a numpy array, uint8 {expected}, red green blue",
        remedy="draw it so in `reset`, `step` and `base_frame`, or change frame_size",
    )


def check_state(spec: WorldSpec, state: Any) -> Float[np.ndarray, " n"]:
    """Return a simulator's true state.

    Raises:
        DefinitionError: if it is not one finite number per name.
    """
    return _check_numbers("state", "state_names", spec.state_names, state)


def check_scores(spec: WorldSpec, scores: Any) -> Float[np.ndarray, " m"]:
    """Return a simulator's true task scores.

    Raises:
        DefinitionError: if they are not one finite number per name, successes from 0 to 1.
    """
    numbers = _check_numbers("scores", "score_names", spec.score_names, scores)
    for name, number in zip(spec.score_names, numbers.tolist(), strict=True):
        if name.startswith("success_") and not 0 <= number <= 1:
            raise DefinitionError(
                "a success is a probability",
                given=f"{name} = {number:g}",
                allowed="0 to 1",
                remedy="return 1 where the task is done and 0 elsewhere, or rename the score",
            )
    return numbers


def check_action(spec: WorldSpec, action: Any) -> Any:
    """Return the exploration policy's action: a number of the menu, or the values of the box.

    Raises:
        DefinitionError: if it is no action of the world.
    """
    if isinstance(spec.actions, Menu):
        with as_definition_error():
            return check_int("the action of `explore`", action, least=0, most=len(spec.actions) - 1)
    values = _check_numbers("explore", "actions", spec.actions.names, action)
    low = np.asarray(spec.actions.low, dtype=np.float32)
    high = np.asarray(spec.actions.high, dtype=np.float32)
    if (values < low).any() or (values > high).any():
        raise DefinitionError(
            "an action outside the box",
            given=shown(values.tolist()),
            allowed=f"{shown(low.tolist())} to {shown(high.tolist())}",
            remedy="clip it in `explore`, or change the bounds of the SpokenBox",
        )
    return values


def check_outcome(outcome: Any) -> StepOutcome:
    """Return a simulator's reward and end of a step.

    Raises:
        DefinitionError: if it is no pair of a finite number and a truth value.
    """
    try:
        reward, terminated = outcome
        checked = StepOutcome(float(reward), bool(terminated))
    except (TypeError, ValueError) as error:
        raise DefinitionError(
            "outcome of a simulator is no reward and end",
            given=shown(outcome),
            allowed="StepOutcome(reward, terminated)",
            remedy="mend the simulator's `outcome`",
        ) from error
    if not np.isfinite(checked.reward):
        raise DefinitionError(
            "the reward of a simulator must be finite",
            given=checked.reward,
            allowed="finite numbers",
            remedy="mend the simulator's `outcome`",
        )
    return checked


def check_phrase(phrases: Collection[str], phrase: Any) -> str:
    """Return the prompt that goes with an action.

    Raises:
        DefinitionError: if the definition does not list it.
    """
    if not isinstance(phrase, str) or phrase not in phrases:
        raise DefinitionError(
            "a phrase that the definition does not list",
            given=shown(phrase),
            allowed="a phrase of `menu`, or one of `also`",
            remedy="return such a phrase from `prompt_for`, or add it to `also`",
        )
    return phrase


def _check_numbers(
    method: str, field: str, names: tuple[str, ...], values: Any
) -> Float[np.ndarray, " n"]:
    """Return what a simulator's method returned, as float32.

    Args:
        method: name of the method.
        field: the definition's field with the numbers' names.
        names: the names.
        values: what was returned.
    """
    try:
        numbers = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise _wrong_length(method, field, names, shown(values)) from error
    if numbers.shape != (len(names),):
        raise _wrong_length(method, field, names, f"shape {numbers.shape}")
    for name, number in zip(names, numbers, strict=True):
        if not np.isfinite(number):
            raise DefinitionError(
                f"{method} of a simulator must be finite",
                given=f"{name} = {number}",
                allowed="finite numbers",
                remedy=f"mend the simulator's `{method}`",
            )
    return numbers


def _wrong_length(method: str, field: str, names: tuple[str, ...], given: str) -> DefinitionError:
    return DefinitionError(
        f"{method} of another length than {field}",
        given=given,
        allowed=f"{len(names)} numbers: {', '.join(names)}",
        remedy=f"return one number per name from `{method}`, or change {field}",
    )
