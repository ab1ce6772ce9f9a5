"""Fetch as a world."""

from __future__ import annotations

from streamdit_gym.definition import EvaluationAdapter, Simulator, WorldDefinition
from streamdit_gym.envs.fetch.definition import GRIPPER, SPEC


def make_simulator() -> Simulator:
    """Return a new simulator; its packages are imported when it is needed."""
    from streamdit_gym.envs.fetch.simulator import FetchSimulator

    return FetchSimulator()


WORLD = WorldDefinition.of(
    SPEC,
    make_simulator=make_simulator,
    evaluation=EvaluationAdapter(actor=GRIPPER),
    recipe="fetch",
)
