"""PushT as a world that is registered."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.definition import EvaluationAdapter, Simulator, WorldDefinition
from streamdit_gym.envs.pusht.definition import (
    ACTION_NAMES,
    ACTION_VECTORS,
    ACTOR,
    BODY,
    EVALUATOR_VERSION,
    HARD_START,
    HARD_START_SHARE,
    SPEC,
    STARTS,
    is_goal_reached,
)
from streamdit_gym.envs.pusht.phrases import UNSEEN_PHRASES
from streamdit_gym.envs.pusht.scripted_policy import scripted_actions


def make_simulator() -> Simulator:
    """Return a new simulator; its packages are imported when it is needed."""
    from streamdit_gym.envs.pusht.simulator import PushTSimulator

    return PushTSimulator()


def intact_objects(
    frames: UInt8[np.ndarray, "n 64 64 3"],
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return whether frames show exactly one intact pusher and T.

    OpenCV is imported when it is needed.
    """
    from streamdit_gym.envs.pusht.object_integrity import object_integrity

    return object_integrity(frames)


WORLD = WorldDefinition.of(
    SPEC,
    make_simulator=make_simulator,
    starts=STARTS,
    hard_start=HARD_START,
    hard_start_share=HARD_START_SHARE,
    evaluation=EvaluationAdapter(
        actor=ACTOR,
        body=BODY,
        unseen=UNSEEN_PHRASES,
        objects=intact_objects,
        reached=is_goal_reached,
        evaluator_version=EVALUATOR_VERSION,
    ),
    scripted_policy=scripted_actions,
    action_names=ACTION_NAMES,
    action_vectors=ACTION_VECTORS,
    recipe="default",  # from nothing; the recipe pusht goes on from what is shipped
)
