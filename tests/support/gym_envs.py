"""Small Gymnasium environments for tests, some of which no world can be made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from importlib.util import find_spec
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from streamdit_gym.definition import WorldDefinition
from streamdit_gym.envs import gym_world

SEED = 5
DRAWS_MUJOCO = find_spec("mujoco") is not None and find_library("EGL") is not None
needs_mujoco = pytest.mark.skipif(not DRAWS_MUJOCO, reason="needs mujoco and EGL")
needs_fetch = pytest.mark.skipif(
    not DRAWS_MUJOCO or find_spec("gymnasium_robotics") is None,
    reason="needs gymnasium-robotics and EGL",
)
needs_vizdoom = pytest.mark.skipif(find_spec("vizdoom") is None, reason="needs vizdoom")
needs_box2d = pytest.mark.skipif(find_spec("Box2D") is None, reason="needs box2d")


class Slider(gymnasium.Env[Any, Any]):
    """A square that a force moves along a line; it ends at the right border."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}
    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.x = 0.0
        self.colour = 255

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x = float(self.np_random.uniform(4, 20))
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.x += float(np.asarray(action).sum()) + self.np_random.normal(0, 0.1)
        self.x = max(0.0, self.x)
        return self._observation(), self.x / 100, self.x > 28, False, {}

    def render(self) -> Any:
        picture = np.zeros((32, 64, 3), np.uint8)
        left = int(self.x)
        picture[12:20, left : left + 8] = self.colour
        return picture

    def _observation(self) -> np.ndarray:
        return np.array([self.x, 0], np.float32)


class Unseen(Slider):
    """An environment that cannot be drawn."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}


class NothingDrawn(Slider):
    """An environment whose pictures are none."""

    def render(self) -> Any:
        return None


class Observer(Slider):
    """An environment without rendering that observes a picture among other things."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    observation_space = spaces.Dict(
        {"speed": spaces.Box(-1, 1, (1,)), "camera": spaces.Box(0, 255, (32, 64, 3), np.uint8)}
    )

    def _observation(self) -> Any:
        return {"speed": np.zeros(1, np.float32), "camera": self.render()}


class DictActions(Slider):
    """An environment with two kinds of actions at once."""

    action_space = spaces.Dict({"arm": spaces.Box(-1.0, 1.0, (1,)), "hand": spaces.Discrete(2)})


class Unbounded(Slider):
    """An environment whose actions have no bounds."""

    action_space = spaces.Box(-np.inf, np.inf, (1,))


class HalfStill(Slider):
    """An environment with an action dimension that never varies."""

    action_space = spaces.Box(np.array([-1.0, 0.5]), np.array([1.0, 0.5]), dtype=np.float64)


class Named(Slider):
    """An environment that names its actions, whose numbers begin at 1."""

    action_space = spaces.Discrete(3, start=1)

    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "moveLeft", "MOVE_RIGHT"]

    def step(self, action: Any) -> Any:
        return super().step((0.0, -1.0, 1.0)[action - 1])


ENVS: dict[str, type[Slider]] = {
    "Slider": Slider,
    "Unseen": Unseen,
    "NothingDrawn": NothingDrawn,
    "Observer": Observer,
    "DictActions": DictActions,
    "Unbounded": Unbounded,
    "HalfStill": HalfStill,
    "Named": Named,
}


@contextmanager
def registered_envs() -> Iterator[None]:
    """Register the environments as ``Test/NAME-v0``, for a while."""
    for name, env in ENVS.items():
        gymnasium.register(f"Test/{name}-v0", env, max_episode_steps=60)
    try:
        yield
    finally:
        for name in ENVS:
            del gymnasium.registry[f"Test/{name}-v0"]


def slider(env: str = "Slider", **settings: Any) -> WorldDefinition:
    """Return a world of a small environment."""
    return gym_world(f"Test/{env}-v0", **{"name": env, "frame_size": (32, 64), **settings})


def simulator_of(definition: WorldDefinition) -> Any:
    """Return a simulator that has been reset."""
    assert definition.make_simulator is not None
    simulator = definition.make_simulator()
    simulator.reset(np.random.default_rng(SEED), "any")
    return simulator
