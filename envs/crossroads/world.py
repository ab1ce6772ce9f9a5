"""Crossroads as a world that is registered."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.definition import EvaluationAdapter, Simulator, WorldDefinition
from streamdit_gym.envs.crossroads.definition import SPEC


def make_simulator() -> Simulator:
    """Return a new simulator; its packages are imported when it is needed."""
    from streamdit_gym.envs.crossroads.simulator import CrossroadsSimulator

    return CrossroadsSimulator()


def intact_objects(frames: UInt8[np.ndarray, "n 64 64 3"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Return whether frames show exactly one whole ball; OpenCV is imported when it is needed."""
    from streamdit_gym.envs.crossroads.marks import ball_integrity

    return ball_integrity(frames)


def outcome(frames: UInt8[np.ndarray, "f 64 64 3"]) -> str:
    """Return which way the ball went; OpenCV is imported when it is needed."""
    from streamdit_gym.envs.crossroads.marks import ball_outcome

    return ball_outcome(frames)


WORLD = WorldDefinition.of(
    SPEC,
    make_simulator=make_simulator,
    recipe="crossroads",
    evaluation=EvaluationAdapter(objects=intact_objects, outcome=outcome),
)
