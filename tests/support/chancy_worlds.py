"""A world whose episodes end by chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamdit_gym.definition import EnvironmentTask
from streamdit_gym.world import World
from support.pushed_dot import make_dot_world


def chancy_world(probability: float = 0.3) -> World:
    """Return a world each of whose steps ends an episode with a probability."""
    world = make_dot_world()
    assert world.transitions is not None
    world.transitions.out.weight.data[1] = 0
    world.transitions.out.bias.data[1] = np.log(probability / (1 - probability))
    tasks = {"own": EnvironmentTask(horizon=64, about="chance", draws_ends=True)}
    return replace(world, spec=replace(world.spec, tasks=tasks))
