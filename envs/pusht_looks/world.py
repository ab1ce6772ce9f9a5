"""PushT in many colours as a world that is registered."""

from __future__ import annotations

import dataclasses

from streamdit_gym.definition import Simulator, WorldDefinition
from streamdit_gym.envs.pusht.world import WORLD as PUSHT
from streamdit_gym.envs.pusht_looks.appearance import APPEARANCE_EVALUATION
from streamdit_gym.envs.pusht_looks.definition import SPEC, STARTS
from streamdit_gym.envs.pusht_looks.phrases import move_prompt


def make_simulator() -> Simulator:
    """Return a new simulator; its packages are imported when it is needed."""
    from streamdit_gym.envs.pusht_looks.simulator import PushTLooksSimulator

    return PushTLooksSimulator()


WORLD = WorldDefinition.of(
    SPEC,
    make_simulator=make_simulator,
    starts=STARTS,
    # evaluated from PushT's starts: no colours are named there
    evaluation=dataclasses.replace(
        PUSHT.evaluation, appearance=APPEARANCE_EVALUATION, starts=PUSHT.starts
    ),
    scripted_policy=PUSHT.scripted_policy,
    action_names=PUSHT.action_names,
    action_vectors=PUSHT.action_vectors,
    move_prompt=move_prompt,
    recipe="pusht-looks",
)
