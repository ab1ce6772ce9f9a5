"""The ids under which Gymnasium knows the worlds; they follow from the worlds' definitions.

A world of one task has the ids ``StreamDiT/NAME-v0`` (generated) and ``StreamDiT/NAME-Real-v0``
(its reference simulator, if it has one). Further tasks have their name in the ids:
``StreamDiT/NAME-Task-v0``.
"""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from streamdit_gym.definition import WorldDefinition, WorldSpec
from streamdit_gym.registry import (
    find_definition,
    load_entry_points,
    on_registration,
    register_world,
)

ENTRY_POINT = "streamdit_gym.envs.entry_points:make_env"
VECTOR_ENTRY_POINT = "streamdit_gym.envs.entry_points:make_vector_env"
ANY_WORLD_ID = "StreamDiT/World-v0"  # of any bundle: world="FOLDER"
OPEN_MODEL_ID = "StreamDiT/Open-v0"  # of any open video model: model="wan:FOLDER"
OPEN_ENTRY_POINT = "streamdit_gym.envs.open_env:OpenEnv"
OPEN_VECTOR_ENTRY_POINT = "streamdit_gym.envs.open_vector_env:OpenVectorEnv"
SHIPPED_WORLDS = (
    "streamdit_gym.envs.pusht.world",
    "streamdit_gym.envs.pusht_looks.world",
    "streamdit_gym.envs.pusht_continuous.world",
    "streamdit_gym.envs.crossroads.world",
    "streamdit_gym.envs.reacher.world",
    "streamdit_gym.envs.fetch.world",
    "streamdit_gym.envs.take_cover.world",
)


# Id -> settings of every registered world; ids with -Real- are reference simulators.
IDS: dict[str, dict[str, Any]] = {}


def task_id(spec: WorldSpec, task: str, *, real: bool = False) -> str:
    """Return the id of a world's task.

    Args:
        spec: the world.
        task: name of the task; the first one has no name in the id.
        real: the id of the reference simulator.
    """
    parts = [spec.name]
    if task != spec.default_task:
        parts.append(task[:1].upper() + task[1:])
    if real:
        parts.append("Real")
    return f"StreamDiT/{'-'.join(parts)}-v0"


def ids_of(definition: WorldDefinition) -> dict[str, dict[str, Any]]:
    """Return the arguments of every id of a world."""
    ids: dict[str, dict[str, Any]] = {}
    for task in list(definition.tasks) or [""]:
        settings: dict[str, Any] = {"world": definition.name}
        if task:
            settings["task"] = task
        ids[task_id(definition, task)] = settings
        if definition.make_simulator is not None:
            ids[task_id(definition, task, real=True)] = {**settings, "real": True}
    return ids


def id_of(world: str, task: str) -> str:
    """Return the id of a generated world's task; empty if there is none."""
    definition = find_definition(world)
    if definition is None or task not in definition.tasks:
        return ""
    return task_id(definition, task)


def spec_json(world: str, name: str, task: str, partition: str) -> str:
    """Return the spec of an environment as Gymnasium's `EnvSpec.from_json` takes it.

    Args:
        world: registered name, folder or Hub id.
        name: the world's own name; a world under a registered name gets that id.
        task: name of the task.
        partition: how it streams.
    """
    spec = EnvSpec(
        id=id_of(name, task) or f"StreamDiT/{name}-{task}-v0",
        entry_point=ENTRY_POINT,
        vector_entry_point=VECTOR_ENTRY_POINT,
        kwargs={"world": world, "task": task, "partition": partition},
    )
    return spec.to_json()


def register_ids(definition: WorldDefinition) -> None:
    """Register a world's ids with Gymnasium; entry points are imported when they are needed."""
    for name, settings in ids_of(definition).items():
        IDS[name] = settings
        _register(name, settings)


def register_all() -> None:
    """Register the shipped worlds and those of installed packages, and the ids of all worlds."""
    _register(ANY_WORLD_ID, {"world": ""})
    gymnasium.registry.pop(OPEN_MODEL_ID, None)
    gymnasium.register(
        id=OPEN_MODEL_ID,
        entry_point=OPEN_ENTRY_POINT,
        vector_entry_point=OPEN_VECTOR_ENTRY_POINT,
    )
    on_registration(register_ids)
    for module in SHIPPED_WORLDS:
        register_world(importlib.import_module(module).WORLD)
    load_entry_points()


def _register(name: str, settings: dict[str, Any]) -> None:
    gymnasium.registry.pop(name, None)  # a definition may be registered anew
    gymnasium.register(
        id=name,
        entry_point=ENTRY_POINT,
        vector_entry_point=VECTOR_ENTRY_POINT,
        kwargs=settings,
    )
