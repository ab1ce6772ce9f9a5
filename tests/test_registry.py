"""Worlds are registered by their definitions: from code, from a file, from a package."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from streamdit_gym import registry
from streamdit_gym.actions import Menu
from streamdit_gym.definition import EnvironmentTask, StepOutcome, WorldDefinition
from streamdit_gym.envs.registration import IDS, id_of, ids_of
from streamdit_gym.errors import ArgumentError, DefinitionError, UnknownNameError
from streamdit_gym.registry import (
    load_definition,
    load_entry_points,
    register_world,
    registered_worlds,
    world_definition,
)


class Lamp:
    """A lamp that is switched on; the smallest simulator with an end of its own."""

    def reset(self, rng: np.random.Generator, start: str) -> np.ndarray:
        self.is_on = False
        return self.frame()

    def step(self, action: int) -> np.ndarray:
        self.is_on = bool(action)
        return self.frame()

    def frame(self) -> np.ndarray:
        return np.full((16, 16, 3), 255 * self.is_on, np.uint8)

    def outcome(self) -> StepOutcome:
        return StepOutcome(float(self.is_on), self.is_on)

    def close(self) -> None:
        pass


LAMP = WorldDefinition(
    name="Lamp",
    frame_size=(16, 16),
    fps=10.0,
    actions=Menu("wait", "switch it on"),
    tasks={"light": EnvironmentTask(horizon=8, about="switch the lamp on")},
    make_simulator=Lamp,
)
FILE = """
from streamdit_gym import Menu, WorldDefinition, register_world

register_world(WorldDefinition(name="{name}", frame_size=(16, 16), fps=5, actions=Menu("a", "b")))
"""


@pytest.fixture(autouse=True)
def _same_worlds() -> Iterator[None]:
    """Forget what a test registers."""
    worlds = dict(registry._WORLDS)
    ids = dict(IDS)
    yield
    for name in set(IDS) - set(ids):
        gymnasium.registry.pop(name)
        IDS.pop(name)
    registry._WORLDS.clear()
    registry._WORLDS.update(worlds)


def test_the_shipped_worlds_came_by_the_same_door() -> None:
    assert {"PushT", "PushT-Looks", "PushT-Continuous"} <= set(registered_worlds())
    assert world_definition("PushT").spec.menu


def test_ids_follow_from_the_definition() -> None:
    register_world(LAMP)
    assert world_definition("Lamp") is LAMP
    assert set(ids_of(LAMP)) == {"StreamDiT/Lamp-v0", "StreamDiT/Lamp-Real-v0"}
    assert id_of("PushT", "reach") == "StreamDiT/PushT-Reach-v0"
    assert id_of("PushT", "dance") == ""
    without_simulator = dataclasses.replace(LAMP, make_simulator=None)
    assert set(ids_of(without_simulator)) == {"StreamDiT/Lamp-v0"}


def test_a_registered_simulator_is_an_environment_with_its_own_reward_and_end() -> None:
    register_world(LAMP)
    env = gymnasium.make("StreamDiT/Lamp-Real-v0")
    observation, _ = env.reset(seed=0)
    assert observation.shape == (16, 16, 3)
    _, reward, terminated, _, info = env.step(1)
    assert (reward, terminated) == (1.0, True)
    assert "potential" not in info
    env.close()


def test_a_definition_of_the_same_name_replaces_the_old_one() -> None:
    register_world(LAMP)
    other = dataclasses.replace(LAMP, fps=20.0)
    register_world(other)
    assert world_definition("Lamp").fps == 20.0


def test_a_wrong_definition_is_not_registered() -> None:
    with pytest.raises(DefinitionError, match="name"):
        register_world(dataclasses.replace(LAMP, name="a/b"))
    assert "a/b" not in registered_worlds()
    with pytest.raises(DefinitionError, match="no definition"):
        register_world(LAMP.spec)  # type: ignore[arg-type]


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'PushT'"):
        world_definition("PusT")


def test_a_file_registers_its_world(tmp_path: Path) -> None:
    path = tmp_path / "my_world.py"
    path.write_text(FILE.format(name="Mine"))
    assert world_definition(str(path)).name == "Mine"
    assert "StreamDiT/Mine-v0" in gymnasium.registry


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = (", "line 1"),
        ("\n1 / 0", "line 2: ZeroDivisionError"),
        ("pass", "registers one world"),
        (FILE.format(name="A") + FILE.format(name="B"), "A, B"),
        (FILE.format(name="a/b"), "a world's name"),
    ],
    ids=["syntax", "error", "no world", "two worlds", "wrong definition"],
)
def test_a_broken_file_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "my_world.py"
    path.write_text(text)
    with pytest.raises((ArgumentError, DefinitionError), match=complaint):
        load_definition(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no such definition file"):
        world_definition(str(tmp_path / "nowhere.py"))


def test_packages_announce_worlds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "announced.py").write_text(
        "from streamdit_gym import Menu, WorldDefinition\n"
        "def world():\n"
        "    return WorldDefinition(\n"
        "        name='Announced', frame_size=(16, 16), fps=5, actions=Menu('a', 'b')\n"
        "    )\n"
    )
    folder = tmp_path / "announced-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: announced\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(
        "[streamdit_gym.worlds]\n"
        "Announced = announced:world\n"
        "Misnamed = announced:world\n"
        "Broken = announced:nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    load_entry_points()
    assert "Announced" in registered_worlds()
    assert "Misnamed for the world Announced" in caplog.text
    assert "Broken of announced:nothing" in caplog.text
