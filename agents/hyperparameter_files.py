"""Hyperparameters in files of RL Baselines3 Zoo's format, hyperparameters/ALGO.yml.

So the Zoo and `rl train` read the same ones.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

from streamdit_gym.agents.env_worlds import REACH

PLAIN_WORLD = {"observation": "state", "frame_stack": 1, "reward_scale": 1.0}


def zoo_entries(algo: str, env: str) -> dict[str, Any]:
    """Return what the file of an algorithm has for an environment, else for reaching in PushT."""
    folder = files("streamdit_gym.agents").joinpath("hyperparameters")
    by_env = yaml.safe_load(folder.joinpath(f"{algo}.yml").read_text())
    entries: dict[str, Any] = by_env.get(env, by_env[REACH])
    return entries


def usual_world(algo: str, env: str) -> dict[str, Any]:
    """Return how an agent sees its world where nobody has said it: the arguments of `BatchedWorld`.

    They are ``observation``, ``frame_stack`` and ``reward_scale``.
    """
    (wrapper,) = zoo_entries(algo, env)["vec_env_wrapper"]
    arguments = next(iter(wrapper.values())) if isinstance(wrapper, dict) else {}
    return {name: arguments.get(name, plain) for name, plain in PLAIN_WORLD.items()}
