"""Trial episodes of a simulator, before anything is recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from streamdit_gym.data.episode import Episode, add_frame, explore
from streamdit_gym.definition import Simulator, WorldDefinition, WorldSpec
from streamdit_gym.errors import DefinitionError

log = logging.getLogger("streamdit_gym")

TRIAL_STEPS = 8  # of every kind of episode


def simulator_of(definition: WorldDefinition) -> Simulator:
    """Return a new reference simulator of a world.

    Raises:
        DefinitionError: if the world has none.
    """
    if definition.make_simulator is None:
        raise DefinitionError(
            "this world has no simulator",
            given=definition.name,
            allowed="a definition with make_simulator, as gym_world(...) makes it",
            remedy="train it from recordings: streamdit-gym train --data FOLDER --name NAME",
        )
    return definition.make_simulator()


def check_first_episodes(
    definition: WorldDefinition, starts: Iterable[str], steps: int = TRIAL_STEPS
) -> None:
    """Play a few steps of every kind of episode and check all that the simulator returns.

    Args:
        definition: the world, see `check_definition`.
        starts: kinds of starts.
        steps: how many of each.

    Raises:
        DefinitionError: at the first mistake.
    """
    rng = np.random.default_rng(0)
    simulator = simulator_of(definition)
    has_moved = False
    for start in starts:
        moved = _check_episode(definition, simulator, rng, start, steps)
        has_moved = has_moved or moved
    simulator.close()
    if not has_moved:
        log.warning(
            "%s: no frame differs from the first one of its episode; "
            "does the simulator draw what it does?",
            definition.name,
        )


def _check_episode(
    spec: WorldSpec, simulator: Simulator, rng: np.random.Generator, start: str, steps: int
) -> bool:
    """Check one episode, and return whether any frame differs from the first."""
    episode = Episode()
    add_frame(spec, episode, simulator, simulator.reset(rng, start))
    explore(spec, simulator, rng, episode, steps)
    return any(not np.array_equal(frame, episode.frames[0]) for frame in episode.frames)
