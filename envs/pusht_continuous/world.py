"""PushT with continuous actions as a world that is registered."""

from __future__ import annotations

import dataclasses

from streamdit_gym.definition import Simulator, WorldDefinition
from streamdit_gym.envs.pusht.world import WORLD as PUSHT
from streamdit_gym.envs.pusht_continuous.definition import SPEC
from streamdit_gym.envs.pusht_continuous.policies import scripted_actions


def make_simulator() -> Simulator:
    """Return a new simulator; its packages are imported when it is needed."""
    from streamdit_gym.envs.pusht_continuous.simulator import PushTContinuousSimulator

    return PushTContinuousSimulator()


WORLD = WorldDefinition.of(
    SPEC,
    make_simulator=make_simulator,
    starts=PUSHT.starts,
    hard_start=PUSHT.hard_start,
    hard_start_share=PUSHT.hard_start_share,
    evaluation=dataclasses.replace(PUSHT.evaluation, unseen=()),
    scripted_policy=scripted_actions,
    recipe="pusht-continuous",
)
