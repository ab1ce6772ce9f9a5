"""A world of one moving dot whose frames can have any size."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from streamdit_gym.actions import Menu
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.definition import EnvironmentTask, StepOutcome, Task, WorldDefinition
from streamdit_gym.recipes import Recipe
from streamdit_gym.recipes.stage_settings import (
    AutoencoderTraining,
    ReadoutTraining,
    TransitionTraining,
)
from streamdit_gym.train.pipeline import train_world
from streamdit_gym.train.stage_context import RunOptions, TrainingInputs
from support.training import FAST, RandomEncoder

FrameSize = tuple[int, int]
MOVES = ((0, 0), (0, 3), (0, -3))  # rows, columns
GO = Task(
    potential="potential_go",
    success="success_go",
    scale=1.0,
    bonus=1.0,
    threshold=0.5,
    horizon=16,
    about="go to the right",
)
RECIPE = Recipe(
    preset="tiny",
    autoencoder=AutoencoderTraining(steps=1, batch=4),
    dynamics=replace(FAST, steps=1),
    readout=ReadoutTraining(steps=1, batch=4),
    transitions=TransitionTraining(steps=1, batch=4),
)


class Dot:
    """A bright dot that goes left and right on black."""

    def __init__(self, frame_size: FrameSize) -> None:
        self.frame_size = frame_size
        self.place = np.zeros(2, np.int64)

    def reset(self, rng: np.random.Generator, start: str) -> np.ndarray:
        self.place = rng.integers(4, np.array(self.frame_size) - 4)
        return self.frame()

    def step(self, action: int) -> np.ndarray:
        moved = self.place + np.array(MOVES[action])
        self.place = moved.clip(4, np.array(self.frame_size) - 4)
        return self.frame()

    def frame(self) -> np.ndarray:
        frame = np.zeros((*self.frame_size, 3), np.uint8)
        row, column = self.place
        frame[row - 3 : row + 3, column - 3 : column + 3] = 255
        return frame

    def state(self) -> np.ndarray:
        row, column = self.place
        return np.array([column, row], np.float32)

    def scores(self) -> np.ndarray:
        _, column = self.place
        last = self.frame_size[1] - 4
        return np.array([column - last, column == last], np.float32)

    def outcome(self) -> StepOutcome:
        _, is_done = self.scores()
        return StepOutcome(float(is_done), bool(is_done))

    def close(self) -> None:
        pass


def dot_world(frame_size: FrameSize) -> WorldDefinition:
    """Return the definition of the world with frames of a size."""
    height, width = frame_size
    return WorldDefinition(
        name=f"Dot-{height}x{width}",
        frame_size=frame_size,
        fps=10.0,
        actions=Menu("stay", "go right", "go left"),
        state_names=("x_px", "y_px"),
        score_names=("potential_go", "success_go"),
        tasks={"go": GO, "own": EnvironmentTask(horizon=16, about="go to the right")},
        make_simulator=partial(Dot, frame_size),
    )


def record_dots(frame_size: FrameSize, folder: Path) -> Dataset:
    """Record a few episodes of the world."""
    record(dot_world(frame_size), folder, RecordConfig(shards=2, episodes=4, steps=8))
    return Dataset(folder)


def train_dots(frame_size: FrameSize, folder: Path) -> Path:
    """Train the world for one step of every stage, and return the bundle's folder."""
    dataset = record_dots(frame_size, folder / "recorded")
    inputs = TrainingInputs(
        spec=dot_world(frame_size).spec, dataset=dataset, make_encoder=RandomEncoder
    )
    world = train_world(inputs, RECIPE, RunOptions(folder=folder / "run"))
    assert world is not None
    return folder / "run" / "world"
