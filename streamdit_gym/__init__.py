"""Robot worlds you can train in: a Gymnasium environment whose simulator is a streaming video
diffusion transformer.
"""

from __future__ import annotations

from streamdit_gym import forks as forks

__version__ = "0.1.0"


def register() -> None:
    """Register the ids with Gymnasium (importing the package does it)."""
    try:
        from streamdit_gym.envs.registration import register_all
    except ModuleNotFoundError as error:  # training needs neither gymnasium nor the environments
        if error.name not in {"gymnasium", "cv2"}:
            raise
        return
    register_all()


def __getattr__(name: str) -> object:
    if name == "World":  # loaded when used: it brings torch
        from streamdit_gym.world import World

        return World
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register()
