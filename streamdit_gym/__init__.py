"""Gymnasium environments whose simulator is a streaming video diffusion transformer."""

from __future__ import annotations

import importlib

from streamdit_gym import forks as forks
from streamdit_gym.actions import Menu as Menu
from streamdit_gym.actions import SpokenBox as SpokenBox
from streamdit_gym.definition import EnvironmentTask as EnvironmentTask
from streamdit_gym.definition import Task as Task
from streamdit_gym.definition import WorldDefinition as WorldDefinition
from streamdit_gym.phrase_generators import register_phrases
from streamdit_gym.registry import register_world as register_world

__version__ = "0.1.0"


def register() -> None:
    """Register all worlds, and their ids with Gymnasium (importing the package does it)."""
    try:
        from streamdit_gym.envs.registration import register_all
    except ModuleNotFoundError as error:  # training needs neither gymnasium nor the environments
        if error.name not in {"gymnasium", "cv2"}:
            raise
        return
    register_all()


def register_shipped_phrases() -> None:
    """Tell bundles where the phrases of the shipped worlds come from."""
    register_phrases("PushT", version=1, location="streamdit_gym.envs.pusht.definition:SPEC")
    register_phrases(
        "PushT-Looks", version=1, location="streamdit_gym.envs.pusht_looks.definition:SPEC"
    )


# loaded when used: they bring torch
LAZY = {
    "World": "streamdit_gym.world",
    "OpenSettings": "streamdit_gym.open_weights.load_open_model",
    "OpenStreams": "streamdit_gym.open_weights.open_streams",
    "load_open_model": "streamdit_gym.open_weights.load_open_model",
}


def __getattr__(name: str) -> object:
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register()
register_shipped_phrases()
