"""The shipped ids that tests go through: one task of every world, and a second one of PushT."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from streamdit_gym.actions import Menu
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.envs.registration import IDS
from streamdit_gym.registry import find_definition
from support.gym_envs import needs_fetch, needs_mujoco, needs_vizdoom

# of reference simulators
NEEDS = {"Reacher": needs_mujoco, "Fetch": needs_fetch, "TakeCover": needs_vizdoom}


def definition_of(name: str) -> WorldDefinition:
    """Return the definition of an id's world."""
    definition = find_definition(IDS[name]["world"])
    assert definition is not None
    return definition


def where_installed(names: Iterable[str]) -> list[Any]:
    """Return ids for `pytest.mark.parametrize`: simulators are skipped where they are missing."""
    return [
        pytest.param(name, marks=NEEDS[IDS[name]["world"]])
        if IDS[name].get("real") and IDS[name]["world"] in NEEDS
        else name
        for name in names
    ]


FIRST_TASK_IDS = [
    name for name, settings in IDS.items() if settings["task"] == definition_of(name).default_task
]
TESTED_IDS = [name for name in IDS if name in FIRST_TASK_IDS or "PushT-Reach" in name]
MENU_IDS = [name for name in TESTED_IDS if isinstance(definition_of(name).actions, Menu)]
BOX_IDS = [name for name in TESTED_IDS if name not in MENU_IDS]
PUSHT_IDS = [name for name in TESTED_IDS if "PushT" in name]
