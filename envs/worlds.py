"""Which worlds there are, and where their simulators live.

Takes: a name.  Gives: the shared World, or the twin's factory.  Knows nothing of: episodes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from streamdit_gym.definition import ReferenceSimulator, WorldSpec
from streamdit_gym.errors import UnknownNameError
from streamdit_gym.world import World

# world -> module with SPEC, STARTS, ACTOR, BODY, UNSEEN_PHRASES, EVALUATOR_VERSION, objects(),
# script() and the simulator's class; if some of the training data begin otherwise, DRILL; if the judge shall play
# other starts, JUDGED; if it can be told to look otherwise, LOOKS, and move_prompt(); if its
# actions are vectors, too, ACTION_NAMES and ACTION_VECTORS, a row for each menu action
TWINS = {
    "PushT": ("streamdit_gym.envs.pusht.simulator", "PushTSimulator"),
    "PushT-Looks": ("streamdit_gym.envs.pusht_looks.simulator", "PushTLooksSimulator"),
}


def simulator_of(world: str) -> tuple[Any, dict[str, float]]:
    """Return a world's simulator class and how its episodes start.

    Raises:
        UnknownNameError: if the world has no twin.
    """
    if world not in TWINS:
        raise UnknownNameError("world with a twin", world, TWINS)
    module_name, class_name = TWINS[world]
    module = importlib.import_module(module_name)
    return getattr(module, class_name), module.STARTS


def drill_of(world: str) -> tuple[str, float]:
    """Return how some more episodes of a world's training data begin, and their share; no name and
    0 if none do.

    Raises:
        UnknownNameError: if the world has no twin.
    """
    simulator_of(world)
    drill: tuple[str, float] = getattr(importlib.import_module(TWINS[world][0]), "DRILL", ("", 0.0))
    return drill


def reference_simulator(world: str) -> ReferenceSimulator:
    """Return a world's twin as the judge needs it.

    Raises:
        UnknownNameError: if the world has no twin.
    """
    make, starts = simulator_of(world)
    module = importlib.import_module(TWINS[world][0])
    return ReferenceSimulator(
        make=make,
        starts=getattr(module, "JUDGED", starts),
        actor=module.ACTOR,
        body=module.BODY,
        unseen=module.UNSEEN_PHRASES,
        objects=module.objects,
        looks=getattr(module, "LOOKS", None),
        evaluator_version=module.EVALUATOR_VERSION,
    )


def script_of(world: str) -> Callable[[Float[np.ndarray, "n s"], str], Int[np.ndarray, " n"]]:
    """Return a world's scripted player: states and a task's name to actions.

    Raises:
        UnknownNameError: if the world has none.
    """
    simulator_of(world)
    script: Callable[[np.ndarray, str], np.ndarray] = importlib.import_module(
        TWINS[world][0]
    ).script
    return script


def action_vectors_of(
    world: str, menu: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[float]]]:
    """Return each menu action as numbers, for data sets whose readers act in real numbers.

    Args:
        world: its name; of a world without a twin, or whose file says nothing of vectors, actions
            are one-hot.
        menu: for every action its phrases.

    Returns:
        The numbers' names, and a row of them for every action.
    """
    module = importlib.import_module(TWINS[world][0]) if world in TWINS else None
    vectors = getattr(module, "ACTION_VECTORS", None)
    if module is None or vectors is None:
        names = [phrases[0] for phrases in menu]
        return names, np.eye(len(menu)).tolist()
    return list(module.ACTION_NAMES), np.array(vectors, dtype=np.float64).tolist()


def move_prompt_of(world: str) -> Callable[[str], str]:
    """Return what takes from a prompt the part that means a move; where prompts say nothing else,
    it changes nothing.
    """
    module = importlib.import_module(TWINS[world][0]) if world in TWINS else None
    function: Callable[[str], str] = getattr(module, "move_prompt", str)
    return function


@lru_cache(maxsize=4)
def shared_world(name: str, device: str) -> World:
    """Return a world, loaded once per process and device."""
    return World.from_pretrained(name, device=device)


def spec_of(world: str) -> WorldSpec:
    """Return a world's spec without loading its simulator.

    Raises:
        UnknownNameError: if there is no such world.
    """
    if world not in TWINS:
        raise UnknownNameError("world", world, TWINS)
    spec: WorldSpec = importlib.import_module(TWINS[world][0]).SPEC
    return spec
