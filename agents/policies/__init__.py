"""Policies: random, scripted, the planner, and trained agents; one home for all that act."""

from __future__ import annotations

import warnings
from typing import Any

_MOVED = {
    "Learned": "TrainedAgent",
    "load_agent": "load_agent",
    "load_policy": "load_policy_file",
    "save_policy": "save_policy",
}


def __getattr__(name: str) -> Any:
    """Return what had its place here; deprecated, and gone in the next release."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streamdit_gym.agents.policies import policy_file

    text = f"{__name__}.{name} is now {policy_file.__name__}.{_MOVED[name]}"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return getattr(policy_file, _MOVED[name])
