"""What PushT with continuous actions is: PushT, whose pusher moves at any speed and angle."""

from __future__ import annotations

import dataclasses

from streamdit_gym.actions import SpokenBox
from streamdit_gym.envs.pusht.definition import SPEC as PUSHT_SPEC

# Steps of PushT's moves, from -1 to 1: x to the right of the picture, y down.
ACTIONS = SpokenBox(x=("left", "still", "right"), y=("up", "still", "down"))

SPEC = dataclasses.replace(PUSHT_SPEC, name="PushT-Continuous", actions=ACTIONS)
