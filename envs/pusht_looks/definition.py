"""What PushT in many colours is: PushT, and prompts that name the colours of its four things.

A thing that a prompt does not name keeps its colour, so a prompt of PushT means here what it means
there. The four things always differ in colour.
"""

from __future__ import annotations

import dataclasses

from streamdit_gym.actions import Menu
from streamdit_gym.envs.pusht.definition import SPEC as PUSHT_SPEC
from streamdit_gym.envs.pusht.definition import STARTS as PUSHT_STARTS
from streamdit_gym.envs.pusht_looks.phrases import MENU, recorded_prompts

SPEC = dataclasses.replace(
    PUSHT_SPEC, name="PushT-Looks", actions=Menu(*MENU), also=recorded_prompts()
)

# Prompts of most episodes name colours; the others are PushT's.
PAINTED_START = "painted"
PAINTED_SHARE = 0.7
STARTS = {
    PAINTED_START: PAINTED_SHARE,
    **{name: 0.3 * share for name, share in PUSHT_STARTS.items()},
}
# Share of the painted episodes that start in PushT's colours.
PUSHT_COLOURS_SHARE = 0.3
# Shares of the recorded steps that name new colours, and that name the last ones again.
NEW_COLOURS_SHARE = 0.12
SAME_COLOURS_SHARE = 0.12
