"""Commands take a name, a definition file, a bundle's folder: what each of them means."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_tiny_world
from support.definition_files import DOT_FILE, forgotten_worlds

from streamdit_gym.bench.simulator_report import report_simulator
from streamdit_gym.cli import main
from streamdit_gym.cli.build_command import AUTOENCODER_SHARE, Build
from streamdit_gym.cli.distill_command import usual_recipe
from streamdit_gym.cli.train_command import Train, default_recipe
from streamdit_gym.cli.world_argument import bundle_of, definition_of
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import ArgumentError, DefinitionError, UnknownNameError
from streamdit_gym.recipes import recipe as find_recipe
from streamdit_gym.world import World, find_world
from streamdit_gym.world_folders import shipped_worlds

__all__ = ["forgotten_worlds"]


@pytest.fixture
def dot_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten_worlds: None) -> str:
    """Return the path of a file that registers the world Dot; the folder is the working one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dot.py").write_text(DOT_FILE)
    return "dot.py"


def test_a_definition_file_is_recorded_under_the_name_of_its_world(dot_file: str) -> None:
    settings = ["--set", "episodes=2", "steps=3", "workers=2"]
    assert main(["record", dot_file, "--shards", "2", *settings]) == 0
    assert Dataset("recorded/Dot").shard(0).frames.shape == (2, 4, 16, 16, 3)


def test_definitions_of_a_file_cross_process_borders(dot_file: str) -> None:
    definition = definition_of(dot_file)
    copy = pickle.loads(pickle.dumps(definition))
    assert copy == definition


def test_what_train_wrote_is_found_by_name_and_by_file(dot_file: str) -> None:
    definition_of(dot_file)
    with pytest.raises(UnknownNameError, match="not trained yet"):
        find_world("Dot")
    make_tiny_world().save_pretrained("runs/Dot/world")
    assert find_world("Dot") == Path("runs/Dot/world")
    assert bundle_of(dot_file) == "Dot"
    World.from_pretrained("Dot")


def test_a_definition_may_say_where_its_weights_are(dot_file: str) -> None:
    Path(dot_file).write_text(DOT_FILE.replace("fps=10.0", "fps=10.0, weights='elsewhere'"))
    make_tiny_world().save_pretrained("elsewhere")
    assert find_world(bundle_of(dot_file)) == Path("elsewhere")


def test_a_bundles_world_that_nobody_registered_has_no_simulator(tmp_path: Path) -> None:
    world = make_tiny_world()
    unknown = replace(world, spec=replace(world.spec, name="Unknown"))
    unknown.save_pretrained(tmp_path / "bundle")
    definition = definition_of(str(tmp_path / "bundle"))
    assert definition.name == "Unknown"
    assert definition.make_simulator is None


@pytest.mark.parametrize("name", ["record", "train"])
def test_a_wrong_name_is_told_with_the_nearest(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "PushTea"]) == 2
    assert "did you mean 'PushT'" in capsys.readouterr().err


def test_an_untrained_world_says_how_to_train_it(
    dot_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", dot_file]) == 2
    assert "streamdit-gym train Dot" in capsys.readouterr().err


def test_data_that_are_not_there_are_recorded_by_the_worlds_own_name(
    dot_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", dot_file, "--recipe", "tiny"]) == 2
    assert "streamdit-gym record Dot" in capsys.readouterr().err


def test_a_file_with_a_syntax_error_names_its_line(dot_file: str) -> None:
    Path(dot_file).write_text("\nregister_world(\n")
    with pytest.raises(DefinitionError, match="line 2"):
        definition_of(dot_file)


def test_a_file_with_two_worlds_is_refused(dot_file: str) -> None:
    Path(dot_file).write_text(DOT_FILE + DOT_FILE.replace("Dot", "Spot"))
    with pytest.raises(ArgumentError, match="Dot, Spot"):
        definition_of(dot_file)


def test_check_reports_and_saves_start_frames(
    dot_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", dot_file]) == 0
    report = capsys.readouterr().out
    assert "same seed, same frames: yes" in report
    assert Path("runs/Dot/starts.png").is_file()


def test_check_finds_what_a_person_should_look_at(dot_file: str) -> None:
    random = DOT_FILE.replace("+ action)", "+ np.random.randint(2))")
    Path(dot_file).write_text(random)
    report = report_simulator(definition_of(dot_file))
    assert not report.is_repeatable
    assert any("generator" in text for text in report.warnings())


def test_a_build_that_goes_on_keeps_its_plan(dot_file: str) -> None:
    definition = definition_of(dot_file)
    path = Path("runs/Dot/build.json")
    short = Build(world=dot_file, minutes=0.1)
    shards = short._planned_shards(definition, path)
    assert shards >= 4
    longer = Build(world=dot_file, minutes=1000.0)
    assert longer._planned_shards(definition, path) == shards


@pytest.mark.parametrize("name", shipped_worlds())
def test_shipped_worlds_name_their_recipes_and_can_be_trained_from_nothing(name: str) -> None:
    definition = definition_of(name)
    assert Train(world=name)._recipe(definition) == find_recipe(definition.recipe)
    from_nothing = Train(world=name, init="none")._recipe(definition)
    assert from_nothing.continue_from is None
    assert from_nothing.readout.steps > 0
    adapted = Train(world=name, init="PushT")._recipe(definition)
    assert adapted.readout.steps > 0


def test_a_teacher_that_draws_from_noise_is_distilled_as_such() -> None:
    assert usual_recipe(World.from_pretrained("Crossroads").model.config) == "flow"
    assert usual_recipe(World.from_pretrained("PushT").model.config) == "default"


def test_a_build_bounds_the_autoencoder_of_any_recipe(dot_file: str) -> None:
    definition = replace(definition_of(dot_file), recipe="default")
    recipe = Build(world=dot_file)._recipe(definition)
    assert recipe.autoencoder.max_minutes_share == AUTOENCODER_SHARE < 1
    assert recipe.dynamics.end_with_minutes


def test_training_starts_from_a_world_or_from_nothing(dot_file: str) -> None:
    definition = definition_of(dot_file)
    from_world = Train(world=dot_file, init="PushT")._recipe(definition).continue_from
    assert from_world is not None
    assert (from_world.world, from_world.adapt_autoencoder) == ("PushT", True)
    assert Train(world=dot_file, init="none")._recipe(definition).continue_from is None
    # the dot's frames are too small for PushT's weights, from which others start
    assert find_recipe("own_world").continue_from is not None
    assert default_recipe(definition).continue_from is None
