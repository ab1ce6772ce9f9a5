"""Saved states of painted PushT, checked before the simulator goes back to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamdit_gym.checks import check_choice
from streamdit_gym.envs.pusht.saved_state import check_pair, refused
from streamdit_gym.envs.pusht_looks.palette import COLOURS, THINGS, Appearance


def check_saved_appearance(saved: Any) -> tuple[Any, Appearance]:
    """Return the state of PushT's simulator, not yet checked, and the colours of all things.

    Raises:
        ArgumentError: if it is something else than `PushTLooksSimulator.save` returned.
        UnknownNameError: if there is no such colour.
    """
    inner, appearance = check_pair(saved)
    if not isinstance(appearance, Mapping) or set(appearance) != set(THINGS):
        raise refused(appearance, f"a colour for each of {', '.join(THINGS)}")
    checked = {}
    for thing, colour in appearance.items():
        checked[thing] = check_choice("colour", colour, COLOURS)
    return inner, checked
