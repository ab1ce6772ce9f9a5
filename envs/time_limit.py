"""How long episodes are, as Gymnasium states it and counts it.

Truncation is the environments' own: their count of steps is part of their state.
`gymnasium.make(max_episode_steps=...)` adds a wrapper with a count of its own, of which the
environment inside does not know.
"""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit


def with_horizon(spec: EnvSpec | None, horizon: int) -> EnvSpec | None:
    """Return a spec whose `max_episode_steps` is the horizon."""
    return None if spec is None else dataclasses.replace(spec, max_episode_steps=horizon)


def time_limits_around(env: gymnasium.Env[Any, Any]) -> list[TimeLimit[Any, Any]]:
    """Return the wrappers that count an environment's steps; it takes some 30 ms to find them."""
    return [
        wrapper
        for wrapper in gc.get_objects()
        if issubclass(type(wrapper), TimeLimit) and wrapper.unwrapped is env
    ]


def set_elapsed(limit: TimeLimit[Any, Any], env: gymnasium.Env[Any, Any], steps: int) -> None:
    """Let a wrapper go on counting from a number of steps.

    Warn where it does not count the environment's own steps.

    Args:
        limit: the wrapper.
        env: the environment inside.
        steps: taken in its episode.
    """
    inner: Any = limit.env
    while isinstance(inner, (OrderEnforcing, PassiveEnvChecker, TimeLimit)):
        inner = inner.env
    if inner is env and hasattr(limit, "_elapsed_steps"):
        limit._elapsed_steps = steps  # type: ignore[assignment]
    else:
        gymnasium.logger.warn(
            "a TimeLimit around this environment goes on counting over restore_state; "
            "give horizon=... to make() instead"
        )
