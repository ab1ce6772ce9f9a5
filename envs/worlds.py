"""What environments look up of a world by its name, and weights, loaded once per process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from streamdit_gym.definition import WorldDefinition
from streamdit_gym.errors import UnknownNameError
from streamdit_gym.registry import find_definition, registered_worlds
from streamdit_gym.world import World


def has_simulator(world: str) -> bool:
    """Return whether a world has a reference simulator."""
    definition = find_definition(world)
    return definition is not None and definition.make_simulator is not None


def definition_with_simulator(world: str) -> WorldDefinition:
    """Return the definition of a world that has a reference simulator.

    Raises:
        UnknownNameError: if it has none.
    """
    definition = find_definition(world)
    if definition is None:
        raise _without_simulator(world)
    return with_simulator(definition)


def with_simulator(definition: WorldDefinition) -> WorldDefinition:
    """Return a definition if its world has a reference simulator.

    Raises:
        UnknownNameError: if it has none.
    """
    if definition.make_simulator is None:
        raise _without_simulator(definition.name)
    return definition


def _without_simulator(world: str) -> UnknownNameError:
    names = [name for name in registered_worlds() if has_simulator(name)]
    return UnknownNameError("world with a reference simulator", world, names)


def action_vectors_of(
    world: str, menu: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[float]]]:
    """Return each menu action as numbers, for data sets whose readers act in real numbers.

    Args:
        world: its name. Actions of a world that is not registered, or has no vectors, are one-hot.
        menu: for every action its phrases.

    Returns:
        The numbers' names, and a row of them for every action.
    """
    definition = find_definition(world)
    if definition is not None and definition.action_vectors:
        vectors = np.array(definition.action_vectors, dtype=np.float64)
        return list(definition.action_names), vectors.tolist()
    names = [phrases[0] for phrases in menu]
    return names, np.eye(len(menu)).tolist()


def move_prompt_of(world: str) -> Callable[[str], str]:
    """Return what takes from a prompt the part that asks for a move.

    Where prompts ask for nothing else, it returns them as they are.
    """
    definition = find_definition(world)
    return str if definition is None else definition.move_prompt


@lru_cache(maxsize=4)
def shared_world(name: str, device: str) -> World:
    """Return a world, loaded once per process and device."""
    return World.from_pretrained(name, device=device)
