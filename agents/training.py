"""Deprecated: its names are in `train_agent`, `agent_config`, `agent_envs` and `policies`."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

_MOVED = {
    "ALGORITHMS": ("agent_config", "ALGORITHMS"),
    "AgentTraining": ("agent_config", "AgentTraining"),
    "Learned": ("policies.policy_file", "TrainedAgent"),
    "Observation": ("policies.policy", "Observation"),
    "has_agent": ("train_agent", "has_agent"),
    "hyperparameters": ("train_agent", "hyperparameters"),
    "load_agent": ("policies.policy_file", "load_agent"),
    "make_venv": ("agent_envs", "make_venv"),
    "train_agent": ("train_agent", "train_agent"),
    "twin_of": ("agent_envs", "reference_id"),
}


def __getattr__(name: str) -> Any:
    """Return what had its place here; deprecated, and gone in the next release."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room, new_name = _MOVED[name]
    module = importlib.import_module(f"streamdit_gym.agents.{room}")
    text = f"{__name__}.{name} is now {module.__name__}.{new_name}"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return getattr(module, new_name)
