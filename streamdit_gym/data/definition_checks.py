"""Can a world with this definition be recorded, trained and evaluated?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streamdit_gym.checks import check_int, check_prompt, check_real, check_str, shown
from streamdit_gym.definition import Task, WorldSpec
from streamdit_gym.errors import ArgumentError, DefinitionError

MAX_NAME_CHARS = 64
MAX_SIZE_PX = 4096
MAX_FPS = 1000.0
MAX_VERSION = 1_000_000
MAX_HORIZON = 1_000_000
SUM_TOLERANCE = 1e-8  # numpy.random.Generator.choice takes hardly more


def check_definition(spec: WorldSpec, starts: Mapping[str, float] | None = None) -> None:
    """Check a definition, without its simulator.

    Args:
        spec: the world.
        starts: shares of the kinds of starts; None: unknown here.

    Raises:
        DefinitionError: at the first mistake.
    """
    with as_definition_error():
        _check_name(spec.name)
        check_int("size", spec.size, least=1, most=MAX_SIZE_PX)
        check_real("fps", spec.fps, above=0.0, most=MAX_FPS)
        check_int("simulator (its version)", spec.simulator, least=0, most=MAX_VERSION)
        _check_menu(spec.menu)
        _check_other_phrases(spec.also)
        _check_names("state_names", spec.state_names)
        _check_names("score_names", spec.score_names)
        _check_tasks(spec.tasks, spec.score_names)
        if starts is not None:
            _check_starts(starts)


@contextmanager
def as_definition_error() -> Iterator[None]:
    """Turn errors about numbers and texts into errors about the definition."""
    try:
        yield
    except ArgumentError as error:
        raise DefinitionError(
            error.problem, given=error.given, allowed=error.allowed, remedy=error.remedy
        ) from error


def _check_name(name: Any) -> None:
    text = check_str("name", name)
    has_length = 1 <= len(text) <= MAX_NAME_CHARS
    is_clean = text.isprintable() and text == text.strip()
    if not has_length or not is_clean or text.startswith(".") or set(text) & set("/\\:"):
        raise DefinitionError(
            "a world's name is also that of folders",
            given=shown(text),
            allowed=f"1 to {MAX_NAME_CHARS} characters, no leading dot, none of / \\ :",
            remedy="change name",
        )


def _check_menu(menu: Any) -> None:
    if not isinstance(menu, (tuple, list)) or not menu:
        raise DefinitionError(
            "a menu needs actions",
            given=shown(menu),
            allowed="a tuple with the phrases of every action",
            remedy="change menu",
        )
    action_of: dict[str, int] = {}
    for action, phrases in enumerate(menu):
        if not isinstance(phrases, (tuple, list)) or not phrases:
            raise DefinitionError(
                f"action {action} of the menu has no list of phrases",
                given=shown(phrases),
                allowed="a tuple of one text or more for every action",
                remedy='write menu=(("stay",), ("go", "move on")); a single phrase needs its comma',
            )
        for phrase in phrases:
            _check_phrase(phrase)
            other = action_of.setdefault(phrase.casefold(), action)
            if other != action:
                raise DefinitionError(
                    "two actions with one phrase",
                    given=f"{shown(phrase)} for actions {other} and {action}",
                    allowed="each phrase for one action, whatever its case",
                    remedy="change menu",
                )


def _check_other_phrases(phrases: Any) -> None:
    if not isinstance(phrases, (tuple, list)):
        raise DefinitionError(
            "`also` is no list of phrases",
            given=shown(phrases),
            allowed="a tuple of texts",
            remedy='also=("wave",)',
        )
    for phrase in phrases:
        _check_phrase(phrase)


def _check_phrase(phrase: Any) -> None:
    if check_prompt(phrase) != phrase:
        raise DefinitionError(
            "a phrase with superfluous spaces",
            given=shown(phrase),
            allowed=shown(check_prompt(phrase)),
            remedy="change menu or also",
        )


def _check_names(field: str, names: Any) -> None:
    is_list = isinstance(names, (tuple, list))
    if not is_list or not all(isinstance(name, str) and name for name in names):
        raise DefinitionError(
            f"{field} are no names",
            given=shown(names),
            allowed="a tuple of texts",
            remedy=f'{field}=("x_px", "y_px")',
        )
    for name, count in Counter(names).items():
        if count > 1:
            raise DefinitionError(
                f"one name twice in {field}",
                given=name,
                allowed="different names",
                remedy=f"change {field}",
            )


def _check_tasks(tasks: Any, score_names: tuple[str, ...]) -> None:
    if not isinstance(tasks, Mapping):
        raise DefinitionError(
            "tasks are none",
            given=shown(tasks),
            allowed="tasks by name",
            remedy="change tasks",
        )
    for name, task in tasks.items():
        _check_task(name, task, score_names)


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
                remedy="change the task, or add the score to score_names and to the simulator's "
                "`scores`",
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
