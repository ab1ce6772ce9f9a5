"""Saved states of PushT's simulator, checked before the simulator goes back to them.

A saved state is where an episode starts, and the actions since; see `PushTSimulator.save`.
"""

from __future__ import annotations

from typing import Any

from streamdit_gym.actions import ActionLanguage, SpokenBox
from streamdit_gym.checks import check_int, check_real, shown
from streamdit_gym.errors import ArgumentError

# Numbers from which gym-pusht starts: the pusher's place, the block's place and angle.
NUM_POSE_NUMBERS = 5
# Numbers of both bodies: x, y, angle, two speeds and a turning speed.
NUM_BODY_NUMBERS = 12
MAX_REPLAYED_ACTIONS = 100  # of a saved episode; they take a quarter of a second
# Units from the table's corner, twice its width. With far larger numbers pymunk ends the process.
MAX_PLACE = 1024.0
MAX_ANGLE = 1e6  # radians: a T may turn for as long as an episode lasts
MAX_SPEED = 1e5  # units, or radians, a second
POSE_BOUNDS = [MAX_PLACE, MAX_PLACE, MAX_PLACE, MAX_PLACE, MAX_ANGLE]
BODY_BOUNDS = [MAX_PLACE, MAX_PLACE, MAX_ANGLE, MAX_SPEED, MAX_SPEED, MAX_SPEED]


def check_saved(saved: Any, language: ActionLanguage) -> tuple[list[float], list[Any]]:
    """Return the numbers an episode starts from, and the actions since.

    Args:
        saved: what `PushTSimulator.save` returned.
        language: of the world's actions.

    Raises:
        ArgumentError: if it is something else.
    """
    start, actions = check_pair(saved)
    if not isinstance(start, (list, tuple)) or len(start) not in (
        NUM_POSE_NUMBERS,
        NUM_BODY_NUMBERS,
    ):
        allowed = f"a list of {NUM_POSE_NUMBERS} or {NUM_BODY_NUMBERS} numbers to begin from"
        raise refused(start, allowed)
    if not isinstance(actions, (list, tuple)) or len(actions) > MAX_REPLAYED_ACTIONS:
        raise refused(actions, f"a list of at most {MAX_REPLAYED_ACTIONS} actions")
    bounds = POSE_BOUNDS if len(start) == NUM_POSE_NUMBERS else BODY_BOUNDS * 2
    numbers = []
    for number, bound in zip(start, bounds, strict=True):
        numbers.append(check_real("a saved simulator's number", number, least=-bound, most=bound))
    return numbers, [_checked_action(action, language) for action in actions]


def _checked_action(action: Any, language: ActionLanguage) -> Any:
    """Return a menu's number, or the values of a box as a list."""
    name = "a saved simulator's action"
    if not isinstance(language, SpokenBox):
        return check_int(name, action, least=0, most=len(language) - 1)
    if not isinstance(action, (list, tuple)) or len(action) != len(language):
        raise refused(action, f"actions of {len(language)} numbers")
    values = []
    for value, low, high in zip(action, language.low, language.high, strict=True):
        values.append(check_real(name, value, least=low, most=high))
    return values


def check_pair(saved: Any) -> tuple[Any, Any]:
    """Return the two entries of a saved state.

    Raises:
        ArgumentError: if there are not two.
    """
    if not isinstance(saved, (list, tuple)) or len(saved) != 2:
        raise refused(saved, "two entries")
    return saved[0], saved[1]


def refused(given: object, allowed: str) -> ArgumentError:
    """Return the error that a part of a saved state is something else."""
    return ArgumentError(
        "the simulator cannot go back to this state",
        given=shown(given),
        allowed=allowed,
        remedy="restore what save() returned",
    )
