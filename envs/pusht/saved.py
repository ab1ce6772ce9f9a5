"""Saved states of PushT's simulator, checked before the simulator goes back to them.

Takes: what somebody hands over as a saved state.  Gives: the same in plain numbers, or a clear
    error.
Knows nothing of: gym-pusht.

A state is where an episode begins, and the actions since; see `PushTSimulator.save`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from streamdit_gym.checks import check_choice, check_int, check_real, shown
from streamdit_gym.errors import ArgumentError

FIRST_STATE = (
    5  # numbers from which gym-pusht begins: the pusher's place, the block's place and angle
)
BODIES_STATE = 12  # of both bodies: x, y, angle, two speeds and a turning speed
LONGEST_REPLAY = 100  # actions of a saved episode, a quarter of a second's
# units from the table's corner, twice its width; with far larger numbers pymunk ends the process
MAX_PLACE = 1024.0
MAX_ANGLE = 1e6  # radians: a T may turn for as long as an episode lasts
MAX_SPEED = 1e5  # units, or radians, a second


def check_saved(saved: Any, moves: int) -> tuple[list[float], list[int]]:
    """Return where an episode begins and the actions since.

    Args:
        saved: what `PushTSimulator.save` returned.
        moves: how many actions there are.

    Raises:
        ArgumentError: if it is something else.
    """
    start, actions = _pair(saved)
    if not isinstance(start, (list, tuple)) or len(start) not in (FIRST_STATE, BODIES_STATE):
        raise _refused(start, f"a list of {FIRST_STATE} or {BODIES_STATE} numbers to begin from")
    if not isinstance(actions, (list, tuple)) or len(actions) > LONGEST_REPLAY:
        raise _refused(actions, f"a list of at most {LONGEST_REPLAY} actions")
    bounds = [MAX_PLACE, MAX_PLACE, MAX_ANGLE, MAX_SPEED, MAX_SPEED, MAX_SPEED] * 2
    if len(start) == FIRST_STATE:
        bounds = [MAX_PLACE, MAX_PLACE, MAX_PLACE, MAX_PLACE, MAX_ANGLE]
    name = "a saved simulator's number"
    numbers = [
        check_real(name, number, least=-bound, most=bound)
        for number, bound in zip(start, bounds, strict=True)
    ]
    taken = [
        check_int("a saved simulator's action", action, least=0, most=moves - 1)
        for action in actions
    ]
    return numbers, taken


def check_saved_look(
    saved: Any,
    things: Collection[str],
    colours: Collection[str],
) -> tuple[Any, dict[str, str]]:
    """Return the state of PushT's simulator, not yet checked, and the colours that all things have.

    Raises:
        ArgumentError: if it is something else than `PushTLooksSimulator.save` returned.
        UnknownNameError: if there is no such colour.
    """
    inner, look = _pair(saved)
    if not isinstance(look, Mapping) or set(look) != set(things):
        raise _refused(look, f"a colour for each of {', '.join(things)}")
    return inner, {thing: check_choice("colour", colour, colours) for thing, colour in look.items()}


def _pair(saved: Any) -> list[Any]:
    if not isinstance(saved, (list, tuple)) or len(saved) != 2:
        raise _refused(saved, "two entries")
    return list(saved)


def _refused(given: object, allowed: str) -> ArgumentError:
    return ArgumentError(
        "the simulator cannot go back to this state",
        given=shown(given),
        allowed=allowed,
        remedy="restore what save() returned",
    )
