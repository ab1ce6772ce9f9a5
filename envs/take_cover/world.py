"""Take Cover as a world."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.definition import EvaluationAdapter, Simulator, WorldDefinition
from streamdit_gym.envs.take_cover.definition import SPEC


def make_simulator() -> Simulator:
    """Return a new simulator; its packages are imported when it is needed."""
    from streamdit_gym.envs.take_cover.simulator import TakeCoverSimulator

    return TakeCoverSimulator()


def outcome(frames: UInt8[np.ndarray, "f 32 128 3"]) -> str:
    """Return where the last frame shows a fireball; OpenCV is imported when it is needed."""
    from streamdit_gym.envs.take_cover.marks import fireball_outcome

    return fireball_outcome(frames)


WORLD = WorldDefinition.of(
    SPEC,
    make_simulator=make_simulator,
    recipe="take-cover",
    evaluation=EvaluationAdapter(outcome=outcome),
)
