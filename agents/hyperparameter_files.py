"""Hyperparameters in files of RL Baselines3 Zoo's format, hyperparameters/ALGO.yml.

So the Zoo and `rl train` read the same ones.
"""

from __future__ import annotations

import ast
from importlib.resources import files
from typing import Any

import yaml

OTHER_ENVS = "StreamDiT/PushT-Reach-v0"  # whose entries are those of all that are in no file


def zoo_entries(algo: str, env: str) -> dict[str, Any]:
    """Return what the file of an algorithm has for an environment."""
    folder = files("streamdit_gym.agents").joinpath("hyperparameters")
    by_env = yaml.safe_load(folder.joinpath(f"{algo}.yml").read_text())
    entries: dict[str, Any] = by_env.get(env, by_env[OTHER_ENVS])
    return entries


def usual_observation(algo: str, env: str) -> dict[str, Any]:
    """Return what agents observe where nobody has said it, and how many of them at once."""
    entries = zoo_entries(algo, env)
    (wrapper,) = entries["vec_env_wrapper"]
    arguments = next(iter(wrapper.values())) if isinstance(wrapper, dict) else {}
    return {
        "observation": arguments.get("observation", "state"),
        "frame_stack": entries.get("frame_stack", 1),
    }


def normalization_of(algo: str, env: str) -> dict[str, Any]:
    """Return the arguments of `VecNormalize` in the file of an algorithm; empty without any.

    Observations are never normalised: a policy's file holds no statistics of them.
    """
    text = zoo_entries(algo, env).get("normalize", "{}")
    arguments: dict[str, Any] = ast.literal_eval(text)
    return arguments
