"""Does a simulator return what its world's definition allows?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.checks import check_int, shown
from streamdit_gym.data.definition_checks import as_definition_error
from streamdit_gym.definition import Simulator, WorldSpec
from streamdit_gym.errors import DefinitionError

log = logging.getLogger("streamdit_gym")

TRIAL_STEPS = 8  # of every kind of episode, before anything is recorded


def check_first_episodes(
    spec: WorldSpec,
    make: Callable[[], Simulator],
    starts: Iterable[str],
    steps: int = TRIAL_STEPS,
) -> None:
    """Play a few steps of every kind of episode and check all that the simulator returns.

    Args:
        spec: the world, see `check_definition`.
        make: makes its simulator.
        starts: kinds of starts.
        steps: how many of each.

    Raises:
        DefinitionError: at the first mistake.
    """
    rng = np.random.default_rng(0)
    simulator = make()
    has_moved = False
    for start in starts:
        moved = _check_episode(spec, simulator, rng, start, steps)
        has_moved = has_moved or moved
    simulator.close()
    if not has_moved:
        log.warning(
            "%s: no frame differs from the first one of its episode; "
            "does the simulator draw what it does?",
            spec.name,
        )


def _check_episode(
    spec: WorldSpec, simulator: Simulator, rng: np.random.Generator, start: str, steps: int
) -> bool:
    """Check one episode, and return whether any frame differs from the first."""
    phrases = {phrase for paraphrases in spec.menu for phrase in paraphrases} | set(spec.also)
    first_frame = check_frame(spec, simulator.reset(rng, start))
    _check_numbers_and_base_frame(spec, simulator)
    has_moved = False
    for _ in range(steps):
        action = check_action(spec, simulator.explore(rng))
        check_phrase(phrases, simulator.prompt_for(action, spec.menu[action][0]))
        frame = check_frame(spec, simulator.step(action))
        has_moved = has_moved or not np.array_equal(frame, first_frame)
        _check_numbers_and_base_frame(spec, simulator)
    return has_moved


def _check_numbers_and_base_frame(spec: WorldSpec, simulator: Simulator) -> None:
    check_state(spec, simulator.state())
    check_scores(spec, simulator.scores())
    base_frame = simulator.plain_frame()
    if base_frame is not None:
        check_frame(spec, base_frame)


def check_frame(spec: WorldSpec, frame: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Return a simulator's frame.

    Raises:
        DefinitionError: if its size, type or channels are not those of the definition.
    """
    expected = (spec.size, spec.size, 3)
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
        remedy="draw it so in `reset`, `step` and `plain_frame`, or change the definition's size",
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


def check_action(spec: WorldSpec, action: Any) -> int:
    """Return the exploration policy's action.

    Raises:
        DefinitionError: if it is no action of the menu.
    """
    with as_definition_error():
        return check_int("the action of `explore`", action, least=0, most=len(spec.menu) - 1)


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
