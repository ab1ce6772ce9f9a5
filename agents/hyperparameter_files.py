"""The shipped hyperparameters, in RL Baselines3 Zoo's format: both read the same files."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from streamdit_gym.agents.env_worlds import REACH


@cache
def zoo_entry(env: str, algo: str) -> dict[str, Any]:
    """Return an environment's entry in ``hyperparameters/ALGO.yml``; do not change it.

    An environment that is not in the file has the entry of PushT's shorter task.
    """
    path = files("streamdit_gym.agents").joinpath("hyperparameters", f"{algo}.yml")
    by_env: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())
    return by_env.get(env, by_env[REACH])
