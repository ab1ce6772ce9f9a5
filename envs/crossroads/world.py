"""Crossroads as a world that is registered."""

from __future__ import annotations

from streamdit_gym.definition import Simulator, WorldDefinition
from streamdit_gym.envs.crossroads.definition import SPEC


def make_simulator() -> Simulator:
    """Return a new simulator; its packages are imported when it is needed."""
    from streamdit_gym.envs.crossroads.simulator import CrossroadsSimulator

    return CrossroadsSimulator()


WORLD = WorldDefinition.of(SPEC, make_simulator=make_simulator, recipe="crossroads")
