"""The shipped ids that tests go through: one task of every world, and a second one of PushT."""

from __future__ import annotations

from streamdit_gym.envs.registration import IDS
from streamdit_gym.registry import find_definition

FIRST_TASK_IDS = [
    name
    for name, settings in IDS.items()
    if settings["task"] == find_definition(settings["world"]).default_task
]
TESTED_IDS = [name for name in IDS if name in FIRST_TASK_IDS or "PushT-Reach" in name]
BOX_IDS = [name for name in TESTED_IDS if "Continuous" in name]
MENU_IDS = [name for name in TESTED_IDS if name not in BOX_IDS]
PUSHT_IDS = [name for name in TESTED_IDS if "PushT" in name]
