"""Is a world's definition one that can be recorded, trained and judged, and does its simulator keep
to it?

Takes: a world's spec, how its episodes start, its simulator.  Gives: nothing, or an error that
    names the mistake.
Knows nothing of: which simulator it is, models, files.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.checks import check_int, check_prompt, check_real, check_str, shown
from streamdit_gym.definition import Simulator, Task, WorldSpec
from streamdit_gym.errors import ArgumentError, DefinitionError

log = logging.getLogger("streamdit_gym")

MAX_NAME_CHARS = 64
MAX_SIZE_PX = 4096
MAX_FPS = 1000.0
MAX_VERSION = 1_000_000
MAX_HORIZON = 1_000_000
SUM_TOLERANCE = 1e-8  # numpy.random.Generator.choice takes hardly more
TRIAL_STEPS = 8  # of every kind of episode, before anything is recorded


def check_definition(spec: WorldSpec, starts: Mapping[str, float] | None = None) -> None:
    """Check what a definition says, without its simulator.

    Args:
        spec: the world.
        starts: how its episodes begin, with their share; None: unknown here.

    Raises:
        DefinitionError: at the first mistake.
    """
    with _of_definition():
        _check_name(spec.name)
        check_int("size", spec.size, least=1, most=MAX_SIZE_PX)
        check_real("fps", spec.fps, above=0.0, most=MAX_FPS)
        check_int("simulator (its version)", spec.simulator, least=0, most=MAX_VERSION)
        _check_menu(spec)
        for kind, names in (("state_names", spec.state_names), ("score_names", spec.score_names)):
            _check_names(kind, names)
        if not isinstance(spec.tasks, Mapping):
            raise DefinitionError(
                "tasks are none",
                given=shown(spec.tasks),
                allowed="tasks by name",
                remedy="change tasks",
            )
        for name, task in spec.tasks.items():
            _check_task(name, task, spec.score_names)
        if starts is not None:
            _check_starts(starts)


def check_first_episode(
    spec: WorldSpec,
    make: Callable[[], Simulator],
    starts: Iterable[str],
    steps: int = TRIAL_STEPS,
) -> None:
    """Play a few steps of every kind of episode and check all that the simulator gives.

    Args:
        spec: the world, see `check_definition`.
        make: makes its simulator.
        starts: kinds of episodes.
        steps: how many of each.

    Raises:
        DefinitionError: at the first mistake.
    """
    phrases = {phrase for ways in spec.menu for phrase in ways} | set(spec.also)
    rng = np.random.default_rng(0)
    simulator = make()
    frozen = True
    for start in starts:
        first = check_frame(spec, simulator.reset(rng, start))
        _check_observation(spec, simulator)
        for _ in range(steps):
            action = check_action(spec, simulator.explore(rng))
            check_phrase(phrases, simulator.prompt_for(action, spec.menu[action][0]))
            frame = check_frame(spec, simulator.step(action))
            frozen = frozen and np.array_equal(frame, first)
            _check_observation(spec, simulator)
    simulator.close()
    if frozen:
        log.warning(
            "%s: no frame differs from the first one of its episode; does the simulator draw what it does?",
            spec.name,
        )


def check_frame(spec: WorldSpec, frame: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Return a simulator's frame.

    Raises:
        DefinitionError: if it has another size, type or number of channels than the definition
            says.
    """
    expected = (spec.size, spec.size, 3)
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape == expected:
        return frame
    given = (
        f"{frame.dtype} {frame.shape}"
        if isinstance(frame, np.ndarray)
        else f"{type(frame).__name__} {shown(frame)}"
    )
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
    """Return a simulator's true scores.

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
        DefinitionError: if it is none of the menu.
    """
    with _of_definition():
        return check_int("the action of `explore`", action, least=0, most=len(spec.menu) - 1)


def check_phrase(phrases: Iterable[str], phrase: Any) -> str:
    """Return what is said with an action.

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


def _check_observation(spec: WorldSpec, simulator: Simulator) -> None:
    check_state(spec, simulator.state())
    check_scores(spec, simulator.scores())
    plain = simulator.plain_frame()
    if plain is not None:
        check_frame(spec, plain)


def _check_numbers(
    kind: str, field: str, names: tuple[str, ...], values: Any
) -> Float[np.ndarray, " n"]:
    try:
        numbers = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise _wrong_numbers(kind, field, names, shown(values)) from error
    if numbers.shape != (len(names),):
        raise _wrong_numbers(kind, field, names, f"shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        name = names[int(np.flatnonzero(~np.isfinite(numbers))[0])]
        raise DefinitionError(
            f"{kind} of a simulator must be finite",
            given=f"{name} = {numbers[names.index(name)]}",
            allowed="finite numbers",
            remedy=f"mend the simulator's `{kind}`",
        )
    return numbers


def _wrong_numbers(kind: str, field: str, names: tuple[str, ...], given: str) -> DefinitionError:
    return DefinitionError(
        f"{kind} of another length than {field}",
        given=given,
        allowed=f"{len(names)} numbers: {', '.join(names)}",
        remedy=f"return one number per name from `{kind}`, or change {field}",
    )


def _check_name(name: Any) -> None:
    text = check_str("name", name)
    if (
        not 1 <= len(text) <= MAX_NAME_CHARS
        or not text.isprintable()
        or text != text.strip()
        or text.startswith(".")
        or {*text} & {*"/\\:"}
    ):
        raise DefinitionError(
            "a world's name is also that of folders",
            given=shown(text),
            allowed=f"1 to {MAX_NAME_CHARS} characters, no leading dot, none of / \\ :",
            remedy="change name",
        )


def _check_menu(spec: WorldSpec) -> None:
    if not isinstance(spec.menu, (tuple, list)) or not spec.menu:
        raise DefinitionError(
            "a menu needs actions",
            given=shown(spec.menu),
            allowed="a tuple with the phrases of every action",
            remedy="change menu",
        )
    action_of: dict[str, int] = {}
    for action, phrases in enumerate(spec.menu):
        if not isinstance(phrases, (tuple, list)) or not phrases:
            raise DefinitionError(
                f"action {action} of the menu has no list of phrases",
                given=shown(phrases),
                allowed="a tuple of one text or more for every action",
                remedy='write menu=(("stay",), ("go", "move on")); a single phrase needs its comma',
            )
        for phrase in phrases:
            _check_spoken(phrase)
            if action_of.setdefault(phrase.casefold(), action) != action:
                raise DefinitionError(
                    "two actions with one phrase",
                    given=f"{shown(phrase)} for actions {action_of[phrase.casefold()]} and {action}",
                    allowed="each phrase for one action, whatever its case",
                    remedy="change menu",
                )
    if not isinstance(spec.also, (tuple, list)):
        raise DefinitionError(
            "`also` is no list of phrases",
            given=shown(spec.also),
            allowed="a tuple of texts",
            remedy='also=("wave",)',
        )
    for phrase in spec.also:
        _check_spoken(phrase)


def _check_spoken(phrase: Any) -> None:
    if check_prompt(phrase) != phrase:
        raise DefinitionError(
            "a phrase with superfluous spaces",
            given=shown(phrase),
            allowed=shown(check_prompt(phrase)),
            remedy="change menu or also",
        )


def _check_names(kind: str, names: Any) -> None:
    if not isinstance(names, (tuple, list)) or not all(
        isinstance(name, str) and name for name in names
    ):
        raise DefinitionError(
            f"{kind} are no names",
            given=shown(names),
            allowed="a tuple of texts",
            remedy=f'{kind}=("x_px", "y_px")',
        )
    for name, count in Counter(names).items():
        if count > 1:
            raise DefinitionError(
                f"one name twice in {kind}",
                given=name,
                allowed="different names",
                remedy=f"change {kind}",
            )


def _check_task(name: Any, task: Any, score_names: tuple[str, ...]) -> None:
    check_str("a task's name", name)
    if not isinstance(task, Task):
        raise DefinitionError(
            f"task {name} is none", given=shown(task), allowed="a Task", remedy="change tasks"
        )
    for field in ("potential", "success"):
        score = getattr(task, field)
        if score not in score_names:
            raise DefinitionError(
                f"task {name} names a score that is not there",
                given=f"{field}={shown(score)}",
                allowed=", ".join(score_names) or "none: score_names is empty",
                remedy="change the task, or add the score to score_names and to the simulator's `scores`",
            )
    for field in ("scale", "bonus", "threshold"):
        check_real(f"{field} of task {name}", getattr(task, field))
    check_int(f"horizon of task {name}", task.horizon, least=1, most=MAX_HORIZON)


def _check_starts(starts: Any) -> None:
    if not isinstance(starts, Mapping) or not starts:
        raise DefinitionError(
            "no kind of start",
            given=shown(starts),
            allowed="their shares by name",
            remedy='say {"anywhere": 1.0}',
        )
    for name, share in starts.items():
        check_str("the name of a start", name)
        check_real(f"share of start {name}", share, least=0.0, most=1.0)
    total = math.fsum(starts.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise DefinitionError(
            "the shares of the starts do not sum to 1",
            given=f"{total:g}: {shown(dict(starts))}",
            allowed="1 in all",
            remedy="change the starts' shares",
        )


@contextmanager
def _of_definition() -> Iterator[None]:
    """Say of wrong numbers and texts that they are the definition's."""
    try:
        yield
    except ArgumentError as error:
        raise DefinitionError(
            error.problem, given=error.given, allowed=error.allowed, remedy=error.remedy
        ) from error
