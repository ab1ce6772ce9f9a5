"""PushT as one of the shipped worlds."""

from __future__ import annotations

from streamdit_gym.definition import ReferenceSimulator
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
)
from streamdit_gym.envs.pusht.object_integrity import object_integrity
from streamdit_gym.envs.pusht.phrases import UNSEEN_PHRASES
from streamdit_gym.envs.pusht.scripted_policy import scripted_actions
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.envs.shipped_world import ShippedWorld

WORLD = ShippedWorld(
    spec=SPEC,
    make_simulator=PushTSimulator,
    starts=STARTS,
    hard_start=HARD_START,
    hard_start_share=HARD_START_SHARE,
    reference=ReferenceSimulator(
        make=PushTSimulator,
        starts=STARTS,
        actor=ACTOR,
        body=BODY,
        unseen=UNSEEN_PHRASES,
        objects=object_integrity,
        evaluator_version=EVALUATOR_VERSION,
    ),
    scripted_policy=scripted_actions,
    action_names=ACTION_NAMES,
    action_vectors=ACTION_VECTORS,
)
