"""A world's definition and its simulator are checked before anything is recorded or trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamdit_gym.actions import Menu, SpokenBox
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.definition_checks import check_definition
from streamdit_gym.data.recorder import RecordConfig, record, record_shard
from streamdit_gym.data.trial_episodes import check_first_episodes
from streamdit_gym.definition import Task, WorldDefinition, WorldSpec
from streamdit_gym.envs.pusht import definition as pusht
from streamdit_gym.envs.pusht_looks import definition as pusht_looks
from streamdit_gym.errors import DatasetError, DefinitionError

PUSH = Task(
    potential="potential_x",
    success="success_x",
    scale=1.0,
    bonus=1.0,
    threshold=0.5,
    horizon=16,
    about="go right",
)
SPEC = WorldSpec(
    name="Dot",
    frame_size=(16, 16),
    fps=10.0,
    actions=Menu(("stay", "wait"), ("go", "move on")),
    state_names=("x_px", "y_px"),
    score_names=("potential_x", "success_x"),
    tasks={"push": PUSH},
)
STARTS = {"left": 0.5, "middle": 0.5}
CONFIG = RecordConfig(shards=1, episodes=2, steps=3)


class Dot:
    """A dot that goes right: the smallest simulator."""

    def __init__(self) -> None:
        self.x = 0

    def reset(self, rng: np.random.Generator, start: str) -> np.ndarray:
        self.x = {"left": 0, "middle": 8}[start]
        return self.frame()

    def step(self, action: int) -> np.ndarray:
        self.x = min(15, self.x + action)
        return self.frame()

    def frame(self) -> np.ndarray:
        frame = np.zeros((16, 16, 3), np.uint8)
        frame[8, self.x] = 255
        return frame

    def explore(self, rng: np.random.Generator) -> int:
        return int(rng.integers(2))

    def state(self) -> np.ndarray:
        return np.array([self.x, 8], np.float32)

    def scores(self) -> np.ndarray:
        return np.array([self.x - 15, self.x == 15], np.float32)

    def save(self) -> Any:
        return self.x

    def restore(self, saved: Any) -> None:
        self.x = saved

    def start_from(
        self, rng: np.random.Generator, before: np.ndarray, action: int, state: np.ndarray
    ) -> None:
        self.x = round(state[0])

    def close(self) -> None:
        pass


WORLD = WorldDefinition.of(SPEC, make_simulator=Dot, starts=STARTS)


def broken(**methods: Any) -> type[Dot]:
    """Return a simulator of which some methods are others."""
    return type("Broken", (Dot,), methods)


def test_a_right_definition_is_recorded(tmp_path: Path) -> None:
    record(WORLD, tmp_path, CONFIG)
    assert Dataset(tmp_path).shard(0).frames.shape == (2, 4, 16, 16, 3)


def test_a_world_without_tasks_is_recorded(tmp_path: Path) -> None:
    record(dataclasses.replace(WORLD, tasks={}), tmp_path, CONFIG)
    assert Dataset(tmp_path).shard(0).rewards.shape == (2, 3, 0)


def test_the_shipped_definitions_are_right() -> None:
    for module in (pusht, pusht_looks):
        check_definition(module.SPEC, module.STARTS)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "../../x"}, "name"),
        ({"name": ""}, "name"),
        ({"frame_size": 64}, "frame_size"),
        ({"frame_size": (64.0, 64)}, "height in frame_size"),
        ({"frame_size": (64, 10**9)}, "width in frame_size"),
        ({"frame_size": (0, 64)}, "height in frame_size"),
        ({"frame_size": (65, 64)}, r"cut into tokens(.|\n)*frame_size=\(64, 64\)"),
        ({"frame_size": (130, 130)}, r"cut into tokens(.|\n)*frame_size=\(128, 128\)"),
        ({"actions": ("stay", "go")}, "action language"),
        ({"actions": SpokenBox(arm=("still",))}, "number of words of arm"),
        ({"actions": SpokenBox(arm=("left", "left"))}, "one word twice"),
        ({"actions": SpokenBox(arm=("left", "right"), low=1.0)}, "never varies"),
        ({"actions": SpokenBox(arm=("left", "right"), low=(0.0, 0.0))}, "another length"),
        ({"actions": SpokenBox()}, "number of dimensions"),
        ({"fps": float("nan")}, "fps"),
        ({"actions": Menu()}, "menu needs actions"),
        ({"actions": Menu("stay", ())}, "action 1 of the menu"),
        ({"actions": Menu("stay", "")}, "no prompt"),
        ({"actions": Menu(("stay",), (5,))}, "prompt"),
        ({"actions": Menu("stay", " go")}, "superfluous spaces"),
        ({"actions": Menu("stay", ("go", "Stay"))}, "two actions with one phrase"),
        ({"also": "wave"}, "also"),
        ({"state_names": "xy"}, "state_names"),
        ({"state_names": ("x_px", "x_px")}, "twice"),
        ({"score_names": ("potential_x",)}, "success='success_x'"),
        ({"tasks": {"push": dataclasses.replace(PUSH, potential="gap")}}, "potential='gap'"),
        ({"tasks": {"push": dataclasses.replace(PUSH, scale=float("inf"))}}, "scale of task push"),
        ({"tasks": {"push": dataclasses.replace(PUSH, horizon=0)}}, "horizon of task push"),
        ({"tasks": [PUSH]}, "tasks"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value)[:40],
)
def test_a_mistake_in_the_definition_is_named_before_anything_is_written(
    change: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        record(dataclasses.replace(WORLD, **change), tmp_path / "data", CONFIG)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("starts", "complaint"),
    [
        ({}, "no kind of start"),
        ({"left": 0.5, "middle": 0.4}, "sum to 1"),
        ({"left": 1.5, "middle": -0.5}, "share of start left"),
        ({"left": float("nan"), "middle": 1.0}, "share of start left"),
        ({"left": "1"}, "share of start left"),
    ],
    ids=str,
)
def test_wrong_shares_of_starts_are_named(
    starts: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        record(dataclasses.replace(WORLD, starts=starts), tmp_path / "data", CONFIG)
    assert not (tmp_path / "data").exists()


BROKEN = {
    "a larger frame": (
        broken(frame=lambda self: np.zeros((32, 32, 3), np.uint8)),
        r"uint8 \(32, 32, 3\)",
    ),
    "a float frame": (broken(frame=lambda self: np.zeros((16, 16, 3))), "float64"),
    "a frame with alpha": (
        broken(frame=lambda self: np.zeros((16, 16, 4), np.uint8)),
        r"\(16, 16, 4\)",
    ),
    "a grey frame": (broken(frame=lambda self: np.zeros((16, 16), np.uint8)), r"\(16, 16\)"),
    "no frame": (broken(frame=lambda self: None), "NoneType"),
    "a state too long": (broken(state=lambda self: np.zeros(3)), "state_names"),
    "a state that is no number": (broken(state=lambda self: ["a", "b"]), "state_names"),
    "a state that is not finite": (broken(state=lambda self: np.array([0, np.nan])), "y_px = nan"),
    "scores too short": (broken(scores=lambda self: np.zeros(1)), "score_names"),
    "scores that are not finite": (
        broken(scores=lambda self: np.array([-np.inf, 0])),
        "potential_x = -inf",
    ),
    "a success beyond 1": (broken(scores=lambda self: np.array([0, 2.0])), "success_x = 2"),
    "an action outside the menu": (broken(explore=lambda self, rng: 7), "int 7"),
    "an action that is no number": (broken(explore=lambda self, rng: "go"), "str 'go'"),
    "half an action": (broken(explore=lambda self, rng: 0.5), "float 0.5"),
    "a phrase of nowhere": (broken(prompt_for=lambda self, action, phrase: "fly"), "'fly'"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_mistake_of_the_simulator_is_named_before_anything_is_written(
    mistake: str, tmp_path: Path
) -> None:
    simulator, complaint = BROKEN[mistake]
    with pytest.raises(DefinitionError, match=complaint):
        record(dataclasses.replace(WORLD, make_simulator=simulator), tmp_path / "data", CONFIG)
    assert not (tmp_path / "data").exists()
    with pytest.raises(DefinitionError, match=complaint):
        record_shard(dataclasses.replace(WORLD, make_simulator=simulator), CONFIG, 0)


def test_a_mistake_that_comes_late_is_named_as_well(tmp_path: Path) -> None:
    def state(self: Dot) -> np.ndarray:
        return np.array([np.nan if self.x > 12 else self.x, 8])

    with pytest.raises(DefinitionError, match="x_px = nan"):
        record(
            dataclasses.replace(
                WORLD,
                make_simulator=broken(state=state, explore=lambda self, rng: 1),
                starts={"left": 1.0},
            ),
            tmp_path,
            RecordConfig(shards=1, episodes=1, steps=20),
        )
    assert not list(tmp_path.glob("shard-*"))


def test_every_kind_of_start_is_tried() -> None:
    with pytest.raises(KeyError, match="right"):
        check_first_episodes(WORLD, ("left", "right"))


def test_frames_that_never_change_are_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    check_first_episodes(WORLD, STARTS)
    assert not caplog.records
    still = broken(frame=lambda self: np.zeros((16, 16, 3), np.uint8))
    check_first_episodes(dataclasses.replace(WORLD, make_simulator=still), STARTS)
    assert "no frame differs" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [("world", "Other"), ("size", 32), ("state_names", ["x_px"]), ("score_names", ["a", "b"])],
)
def test_training_refuses_the_data_of_another_definition_at_once(
    key: str, value: Any, tmp_path: Path
) -> None:
    from streamdit_gym.train.dataset_checks import check_dataset

    record(WORLD, tmp_path, dataclasses.replace(CONFIG, shards=2))
    dataset = Dataset(tmp_path)
    check_dataset(dataset, SPEC)
    dataset.meta[key] = value
    with pytest.raises(DatasetError, match=f"{key} differs"):
        check_dataset(dataset, SPEC)


def test_training_refuses_to_continue_a_world_with_frames_of_another_size(tmp_path: Path) -> None:
    from conftest import make_tiny_world

    from streamdit_gym.errors import StreamDiTError
    from streamdit_gym.recipes import Recipe
    from streamdit_gym.recipes.stage_settings import Continuation, DynamicsTraining
    from streamdit_gym.train.pipeline import train_world
    from streamdit_gym.train.stage_context import RunOptions, TrainingInputs

    record(WORLD, tmp_path / "data", dataclasses.replace(CONFIG, shards=2))
    recipe = Recipe(
        continue_from=Continuation(world="PushT"), dynamics=DynamicsTraining(clip_frames=2)
    )
    data = Dataset(tmp_path / "data")
    no_encoder: Any = None
    inputs = TrainingInputs(
        spec=SPEC, dataset=data, make_encoder=no_encoder, base_world=make_tiny_world()
    )
    with pytest.raises(StreamDiTError, match="64 x 64 pixels: PushT"):
        train_world(inputs, recipe, RunOptions(folder=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_training_refuses_data_in_which_the_menu_was_not_said(tmp_path: Path) -> None:
    from streamdit_gym.train.dataset_checks import check_phrases

    record(WORLD, tmp_path, CONFIG)
    other = dataclasses.replace(SPEC, actions=Menu("stay", ("go", "hop")))
    with pytest.raises(DatasetError, match="'hop'"):
        check_phrases(Dataset(tmp_path), other)
