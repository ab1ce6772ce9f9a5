"""Hyperparameters in files of RL Baselines3 Zoo's format, hyperparameters/ALGO.yml.

So the Zoo and `rl train` read the same ones.
"""

from __future__ import annotations

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
