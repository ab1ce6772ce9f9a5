"""The worlds behind ids: their settings, tasks and reference simulators."""

from __future__ import annotations

from typing import Any

import gymnasium

from streamdit_gym.bundle.config import read_config
from streamdit_gym.definition import WorldSpec
from streamdit_gym.envs.registration import ANY_WORLD_ID, IDS, id_of
from streamdit_gym.errors import ArgumentError, UnknownNameError
from streamdit_gym.registry import find_definition
from streamdit_gym.world_folders import find_world

REACH = "StreamDiT/PushT-Reach-v0"  # where agents learn in minutes


def spec_of(world: str) -> WorldSpec:
    """Return what a world is: of its definition, or of its bundle."""
    definition = find_definition(world)
    return read_config(find_world(world)).spec if definition is None else definition.spec


def default_env(world: str | None) -> str:
    """Return the id to act in: that of a world's first task, of PushT reaching.

    Args:
        world: name, folder or Hub id; None: PushT.

    Raises:
        ArgumentError: if the world has no task.
    """
    if world is None:
        return REACH
    spec = spec_of(world)
    if spec.name == IDS[REACH]["world"]:
        return REACH
    if not spec.tasks:
        raise ArgumentError(
            "this world rewards nothing",
            given=spec.name,
            allowed="a world with a task",
            remedy='add one to its definition: tasks={"name": EnvironmentTask(...)}',
        )
    return id_of(spec.name, spec.default_task) or ANY_WORLD_ID


def reference_id(env: str) -> str | None:
    """Return the id of the reference simulator with an id's spaces, prompts and reward.

    The reference of a ``-Real`` id is the id itself. None: its world has no simulator.
    """
    settings = IDS.get(env, {})
    if settings.get("real"):
        return env
    for name, others in IDS.items():
        if others == {**settings, "real": True}:
            return name
    return None


def is_reference(env: str) -> bool:
    """Return whether an id is that of a reference simulator."""
    return reference_id(env) == env


def env_settings(env: str, world: str | None = None) -> dict[str, Any]:
    """Return the settings that an id stands for, such as its world and its task.

    Args:
        env: the id.
        world: a bundle other than the id's own.

    Raises:
        UnknownNameError: if there is no such id.
        ArgumentError: if the bundle is of another world.
    """
    if env not in (*IDS, ANY_WORLD_ID):
        raise UnknownNameError("environment", env, IDS)
    settings = dict(gymnasium.spec(env).kwargs)
    if world is None:
        return settings
    spec = spec_of(world)
    if env == ANY_WORLD_ID:
        return {**settings, "world": world, "task": spec.default_task}
    if spec.name != settings["world"]:
        raise ArgumentError(
            "the id is one of another world",
            given=f"{env} with the world {spec.name}",
            allowed=f"a bundle of {settings['world']}",
            remedy=f"--env {default_env(world)}, or leave --env out",
        )
    if settings.get("real"):  # only the encoder is the bundle's
        return {**settings, "backend": {"encoder": world}}
    return {**settings, "world": world}


def env_spec(env: str, world: str | None) -> WorldSpec:
    """Return what the world behind an id is, see `env_settings`."""
    return spec_of(env_settings(env, world)["world"])
