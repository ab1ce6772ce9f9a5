"""A definition file as a user writes it, and a fixture that forgets what tests register."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
import pytest

from streamdit_gym import registry
from streamdit_gym.envs.registration import IDS

# Its simulator is a class of the file, which no other process can import.
DOT_FILE = """
import numpy as np

from streamdit_gym import EnvironmentTask, Menu, WorldDefinition, register_world


class Dot:
    def reset(self, rng, start):
        self.x = int(rng.integers(16))
        return self.frame()

    def step(self, action):
        self.x = (self.x + action) % 16
        return self.frame()

    def frame(self):
        frame = np.zeros((16, 16, 3), np.uint8)
        frame[8, self.x] = 255
        return frame

    def outcome(self):
        return float(self.x == 0), False

    def close(self):
        pass


register_world(
    WorldDefinition(
        name="Dot",
        frame_size=(16, 16),
        fps=10.0,
        actions=Menu("stay", "go"),
        tasks={"go": EnvironmentTask(horizon=16, about="go right")},
        make_simulator=lambda: Dot(),
    )
)
"""


@pytest.fixture
def forgotten_worlds() -> Iterator[None]:
    """Forget at the end of a test what it has registered."""
    worlds = dict(registry._WORLDS)
    files = dict(registry._FILES)
    ids = dict(IDS)
    yield
    for name in set(IDS) - set(ids):
        gymnasium.registry.pop(name, None)
    for current, before in ((registry._WORLDS, worlds), (registry._FILES, files), (IDS, ids)):
        current.clear()
        current.update(before)
