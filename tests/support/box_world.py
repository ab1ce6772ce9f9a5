"""A tiny world with continuous actions and a reward and end of its own, and trainings of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamdit_gym.actions import SpokenBox
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.definition import EnvironmentTask, StepOutcome, WorldDefinition

SIZE = 32
RADIUS = 3
MAX_STEP_PX = 3.0


class BoxSimulator:
    """A bright square that moves as two values say; the reward is how far it went to the right.

    The episode ends at the right border.
    """

    def __init__(self) -> None:
        self.place = np.zeros(2)
        self.moved_right = 0.0

    def reset(self, rng: np.random.Generator, start: str) -> np.ndarray:
        self.place = rng.uniform(RADIUS, SIZE // 2, size=2)
        self.moved_right = 0.0
        return self.frame()

    def step(self, action: np.ndarray) -> np.ndarray:
        before = self.place
        self.place = np.clip(before + MAX_STEP_PX * action, RADIUS, SIZE - RADIUS)
        self.moved_right = float(self.place[0] - before[0])
        return self.frame()

    def outcome(self) -> StepOutcome:
        return StepOutcome(self.moved_right, bool(self.place[0] >= SIZE - RADIUS))

    def frame(self) -> np.ndarray:
        rows, columns = np.mgrid[:SIZE, :SIZE]
        inside = (abs(columns - self.place[0]) < RADIUS) & (abs(rows - self.place[1]) < RADIUS)
        frame = np.full((SIZE, SIZE, 3), 40, dtype=np.uint8)
        frame[inside] = (250, 200, 30)
        return frame

    def close(self) -> None:
        pass


BOX_WORLD = WorldDefinition(
    name="BoxSquare",
    frame_size=(SIZE, SIZE),
    fps=10.0,
    actions=SpokenBox(
        across=("hard left", "left", "still", "right", "hard right"), down=("up", "still", "down")
    ),
    tasks={"right": EnvironmentTask(horizon=50, about="go to the right")},
    make_simulator=BoxSimulator,
)


def record_box_world(folder: Path, shards: int = 3, episodes: int = 4, steps: int = 20) -> Dataset:
    record(BOX_WORLD, folder, RecordConfig(shards=shards, episodes=episodes, steps=steps))
    return Dataset(folder)
