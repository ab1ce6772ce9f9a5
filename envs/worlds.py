"""The shipped worlds by name, and their weights, loaded once per process."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from streamdit_gym.definition import ReferenceSimulator, WorldSpec
from streamdit_gym.envs.shipped_world import ScriptedPolicy, ShippedWorld
from streamdit_gym.errors import UnknownNameError
from streamdit_gym.world import World

# World -> module whose WORLD is its `ShippedWorld`; modules are imported when they are needed.
MODULES = {
    "PushT": "streamdit_gym.envs.pusht.world",
    "PushT-Looks": "streamdit_gym.envs.pusht_looks.world",
}


def has_simulator(world: str) -> bool:
    """Return whether a world has a reference simulator."""
    return world in MODULES


def shipped_world(world: str) -> ShippedWorld:
    """Return what is known of a world that has a reference simulator.

    Raises:
        UnknownNameError: if it has none.
    """
    if world not in MODULES:
        raise UnknownNameError("world with a reference simulator", world, MODULES)
    shipped: ShippedWorld = importlib.import_module(MODULES[world]).WORLD
    return shipped


def spec_of(world: str) -> WorldSpec:
    """Return a world's spec without making its simulator.

    Raises:
        UnknownNameError: if there is no such world.
    """
    return shipped_world(world).spec


def simulator_of(world: str) -> tuple[Any, dict[str, float]]:
    """Return a world's simulator class and how its episodes start.

    Raises:
        UnknownNameError: if the world has no reference simulator.
    """
    shipped = shipped_world(world)
    return shipped.make_simulator, shipped.starts


def hard_start_of(world: str) -> tuple[str, float]:
    """Return how some more episodes of the training data start, and their share.

    The name is empty and the share 0 if none do.

    Raises:
        UnknownNameError: if the world has no reference simulator.
    """
    shipped = shipped_world(world)
    return shipped.hard_start, shipped.hard_start_share


def reference_simulator(world: str) -> ReferenceSimulator:
    """Return a world's reference simulator as the evaluation needs it.

    Raises:
        UnknownNameError: if the world has none.
    """
    return shipped_world(world).reference


def scripted_policy_of(world: str) -> ScriptedPolicy:
    """Return a world's scripted policy: states and a task's name to actions.

    Raises:
        UnknownNameError: if the world has none.
    """
    return shipped_world(world).scripted_policy


def action_vectors_of(
    world: str, menu: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[float]]]:
    """Return each menu action as numbers, for data sets whose readers act in real numbers.

    Args:
        world: its name. Actions of a world that is not shipped, or has no vectors, are one-hot.
        menu: for every action its phrases.

    Returns:
        The numbers' names, and a row of them for every action.
    """
    if has_simulator(world):
        shipped = shipped_world(world)
        if shipped.action_vectors:
            vectors = np.array(shipped.action_vectors, dtype=np.float64)
            return list(shipped.action_names), vectors.tolist()
    names = [phrases[0] for phrases in menu]
    return names, np.eye(len(menu)).tolist()


def move_prompt_of(world: str) -> Callable[[str], str]:
    """Return what takes from a prompt the part that asks for a move.

    Where prompts ask for nothing else, it returns them as they are.
    """
    if has_simulator(world):
        return shipped_world(world).move_prompt
    return str


@lru_cache(maxsize=4)
def shared_world(name: str, device: str) -> World:
    """Return a world, loaded once per process and device."""
    return World.from_pretrained(name, device=device)
