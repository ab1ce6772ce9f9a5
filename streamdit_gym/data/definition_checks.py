"""Can a world with this definition be recorded, trained and evaluated?"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streamdit_gym.actions import Menu, SpokenBox
from streamdit_gym.checks import check_bool, check_int, check_prompt, check_real, check_str, shown
from streamdit_gym.definition import EnvironmentTask, Task, WorldSpec
from streamdit_gym.errors import ArgumentError, DefinitionError, ShapeError
from streamdit_gym.frame_sizes import check_multiples

# also that of folders, of a bundle's files and of Gymnasium's ids
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MIN_SIZE_PX, MAX_SIZE_PX = 16, 2048
MAX_DIMENSIONS = 64
MAX_WORDS = 256
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
        check_frame_size(spec.frame_size)
        check_real("fps", spec.fps, above=0.0, most=MAX_FPS)
        check_int("simulator_version", spec.simulator_version, least=0, most=MAX_VERSION)
        _check_actions(spec.actions)
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
    except (ArgumentError, ShapeError) as error:
        raise DefinitionError(
            error.problem, given=error.given, allowed=error.allowed, remedy=error.remedy
        ) from error


def _check_name(name: Any) -> None:
    text = check_str("name", name)
    if not NAME.fullmatch(text):
        raise DefinitionError(
            "a world's name is also that of folders and of environment ids",
            given=shown(text),
            allowed="1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit",
            remedy="change name",
        )


def check_frame_size(size: Any) -> None:
    """Refuse what is no height and width of frames.

    Raises:
        DefinitionError: if it is none.
        ArgumentError: if a number is out of range.
    """
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise DefinitionError(
            "frame_size is no height and width",
            given=shown(size),
            allowed="two whole numbers",
            remedy="frame_size=(64, 64)",
        )
    for name, number in zip(("height", "width"), size, strict=True):
        check_int(f"{name} in frame_size", number, least=MIN_SIZE_PX, most=MAX_SIZE_PX)
    check_multiples((size[0], size[1]))


def _check_actions(actions: Any) -> None:
    if isinstance(actions, Menu):
        _check_menu(actions.phrases)
    elif isinstance(actions, SpokenBox):
        _check_box(actions)
    else:
        raise DefinitionError(
            "actions are no action language",
            given=shown(actions),
            allowed="Menu(...) or SpokenBox(...)",
            remedy='actions=Menu("stay", "go"), or SpokenBox(arm=("left", "still", "right"))',
        )


def _check_box(box: SpokenBox) -> None:
    check_int("the number of dimensions", len(box), least=1, most=MAX_DIMENSIONS)
    _check_names("actions", box.names)
    for name, words in zip(box.names, box.words, strict=True):
        check_int(f"the number of words of {name}", len(words), least=2, most=MAX_WORDS)
        for word in words:
            _check_phrase(word)
        if len({word.casefold() for word in words}) < len(words):
            raise DefinitionError(
                f"one word twice in the dimension {name}",
                given=", ".join(words),
                allowed="different words from the low end to the high end",
                remedy="change actions",
            )
    _check_bounds(box)


def _check_bounds(box: SpokenBox) -> None:
    for name, bounds in (("low", box.low), ("high", box.high)):
        if len(bounds) != len(box):
            raise DefinitionError(
                f"{name} has another length than the dimensions",
                given=f"{len(bounds)} numbers for {len(box)} dimensions",
                allowed="one number, or one for each dimension",
                remedy=f"change {name} of the SpokenBox",
            )
    for name, low, high in zip(box.names, box.low, box.high, strict=True):
        check_real(f"low of {name}", low)
        check_real(f"high of {name}", high)
        if not low < high:
            raise DefinitionError(
                f"the dimension {name} never varies",
                given=f"low {low:g}, high {high:g}",
                allowed="low < high",
                remedy="change the bounds, or leave the dimension out",
            )


def _check_menu(menu: Any) -> None:
    if not isinstance(menu, (tuple, list)) or not menu:
        raise DefinitionError(
            "a menu needs actions",
            given=shown(menu),
            allowed="the phrases of every action",
            remedy='actions=Menu("stay", "go")',
        )
    action_of: dict[str, int] = {}
    for action, phrases in enumerate(menu):
        if not isinstance(phrases, (tuple, list)) or not phrases:
            raise DefinitionError(
                f"action {action} of the menu has no list of phrases",
                given=shown(phrases),
                allowed="a tuple of one text or more for every action",
                remedy='write Menu("stay", ("go", "move on"))',
            )
        for phrase in phrases:
            _check_phrase(phrase)
            other = action_of.setdefault(phrase.casefold(), action)
            if other != action:
                raise DefinitionError(
                    "two actions with one phrase",
                    given=f"{shown(phrase)} for actions {other} and {action}",
                    allowed="each phrase for one action, whatever its case",
                    remedy="change actions",
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
            remedy="change actions or also",
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
    if isinstance(task, EnvironmentTask):
        check_real(f"threshold of task {name}", task.threshold, least=0.0, most=1.0)
        check_int(f"horizon of task {name}", task.horizon, least=1, most=MAX_HORIZON)
        check_bool(f"draws_ends of task {name}", task.draws_ends)
        return
    if not isinstance(task, Task):
        raise DefinitionError(
            f"task {name} is none",
            given=shown(task),
            allowed="a Task or an EnvironmentTask",
            remedy="change tasks",
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
