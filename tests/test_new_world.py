"""``streamdit-gym new-world`` writes a short file that makes a world of an environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.definition_files import forgotten_worlds as forgotten_worlds
from support.gym_envs import needs_box2d, needs_mujoco, registered_envs

from streamdit_gym.actions import Menu, SpokenBox
from streamdit_gym.cli.main import main
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.envs import gym_world
from streamdit_gym.envs.gym_known_envs import with_module
from streamdit_gym.registry import find_definition

# the small environments of tests draw small pictures
pytestmark = pytest.mark.filterwarnings("ignore:a picture of .* is enlarged:UserWarning")
MAX_LINES = 20  # that a user writes for Reacher, comments and empty lines left out


@pytest.fixture(autouse=True)
def _environments(forgotten_worlds: None) -> Iterator[None]:
    with registered_envs():
        yield


def new_world(file: Path, env_id: str) -> WorldDefinition:
    """Write a definition file and return the world that it makes."""
    assert main(["new-world", str(file), "--env", env_id]) == 0
    definition = find_definition(file.stem)
    assert definition is not None
    return definition


def written_lines(file: Path) -> list[str]:
    """Return the lines of a file that are neither empty nor comments."""
    lines = [line.strip() for line in file.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_the_file_makes_the_world_that_gym_world_guesses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = new_world(tmp_path / "my_slider.py", "Test/Slider-v0")
    guess = gym_world("Test/Slider-v0", name="my_slider")
    assert world.actions == guess.actions
    assert f"record {tmp_path / 'my_slider.py'}" in capsys.readouterr().out


def test_a_menu_begins_with_the_names_of_the_environment(tmp_path: Path) -> None:
    world = new_world(tmp_path / "my_menu.py", "Test/Named-v0")
    assert world.actions == Menu("noop", "move left", "move right")


@needs_mujoco
def test_reacher_takes_few_lines(tmp_path: Path) -> None:
    file = tmp_path / "my_reacher.py"
    world = new_world(file, "Reacher-v5")
    assert isinstance(world.actions, SpokenBox)
    assert len(written_lines(file)) <= MAX_LINES
    assert max(len(line) for line in file.read_text().splitlines()) <= 100


@needs_box2d
def test_bounds_are_spelled_out_where_they_are_unusual(tmp_path: Path) -> None:
    world = new_world(tmp_path / "my_car.py", "CarRacing-v3")
    assert isinstance(world.actions, SpokenBox)
    assert world.actions.low == (-1, 0, 0)
    assert "low=(-1.0, 0.0, 0.0)," in (tmp_path / "my_car.py").read_text()


@needs_box2d
def test_a_slow_environment_has_its_steps_joined(tmp_path: Path) -> None:
    """The lander falls by half a pixel in one of its own fifty steps a second."""
    world = new_world(tmp_path / "my_lander.py", "LunarLander-v3")
    assert 5 <= world.fps <= 25


def test_a_file_that_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my_slider.py"
    file.write_text("mine")
    assert main(["new-world", str(file), "--env", "Test/Slider-v0"]) == 2
    assert "there already" in capsys.readouterr().err
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "env_id", "complaint"),
    [
        ("my_world", "Test/Slider-v0", ".py"),
        ("my_world.py", "Test/Unseen-v0", "cannot be drawn"),
        ("my_world.py", "Test/DictActions-v0", "no action language"),
        ("my_world.py", "Test/HalfStill-v0", "never varies"),
        ("my_world.py", "Test/NothingDrawn-v0", "no picture"),
        ("my_world.py", "Test/Missing-v0", "no such environment"),
        ("my world.py", "Test/Slider-v0", "name"),
    ],
)
def test_nothing_is_written_where_no_world_can_be_made(
    file: str, env_id: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-world", str(tmp_path / file), "--env", env_id]) == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_syntax_error_in_a_definition_file_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my_world.py"
    file.write_text("from streamdit_gym import register_world\nregister_world(\n")
    assert main(["record", str(file), "--out", str(tmp_path / "data")]) == 2
    assert "line 2: SyntaxError" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("env_id", "expected"),
    [
        ("FetchReach-v4", "gymnasium_robotics:FetchReach-v4"),
        ("mine:FetchReach-v4", "mine:FetchReach-v4"),
        ("Reacher-v5", "Reacher-v5"),
    ],
)
def test_the_module_of_a_well_known_environment_is_put_before_its_id(
    env_id: str, expected: str
) -> None:
    assert with_module(env_id) == expected
