"""PushT in many colours as one of the shipped worlds."""

from __future__ import annotations

import dataclasses

from streamdit_gym.envs.pusht.world import WORLD as PUSHT
from streamdit_gym.envs.pusht_looks.appearance import APPEARANCE_EVALUATION
from streamdit_gym.envs.pusht_looks.definition import SPEC, STARTS
from streamdit_gym.envs.pusht_looks.phrases import move_prompt
from streamdit_gym.envs.pusht_looks.simulator import PushTLooksSimulator

WORLD = dataclasses.replace(
    PUSHT,
    spec=SPEC,
    make_simulator=PushTLooksSimulator,
    starts=STARTS,
    hard_start="",
    hard_start_share=0.0,
    # evaluated from PushT's starts: no colours are named there
    reference=dataclasses.replace(
        PUSHT.reference, make=PushTLooksSimulator, appearance=APPEARANCE_EVALUATION
    ),
    move_prompt=move_prompt,
)
