"""Recipes: the shipped ones, one's own in a file, and what no recipe can say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamdit_gym.bench.training_speed import estimate_training
from streamdit_gym.cli import main
from streamdit_gym.cli.recipe_options import DISTILL_FIELDS, TRAIN_FIELDS
from streamdit_gym.errors import ArgumentError, PartitionError, StreamDiTError, UnknownNameError
from streamdit_gym.presets import PARTITIONS
from streamdit_gym.recipes import Recipe, recipe
from streamdit_gym.recipes.distillation_settings import DecoderDistillation, Distillation
from streamdit_gym.recipes.named_recipes import RECIPES
from streamdit_gym.recipes.stage_settings import (
    AppearanceTraining,
    AutoencoderTraining,
    Continuation,
    DynamicsTraining,
    ReadoutTraining,
)
from streamdit_gym.stream.partition import Partition
from streamdit_gym.train.stage_run import Budget

OWN = """
from streamdit_gym.recipes import Recipe
from streamdit_gym.recipes.stage_settings import DynamicsTraining

def recipe():
    return Recipe(preset="tiny", dynamics=DynamicsTraining(steps=7))
"""


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_is_whole(name: str) -> None:
    assert isinstance(recipe(name), Recipe)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'pusht'"):
        recipe("pust")


def test_a_recipe_of_ones_own_is_a_python_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    assert recipe(str(path)).dynamics.steps == 7


@pytest.mark.parametrize("text", ["", "recipe = 3", "def recipe(): return None"])
def test_a_file_without_a_recipe_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ArgumentError, match="defines no recipe"):
        recipe(str(path))


def test_a_recipe_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no such recipe file"):
        recipe(str(tmp_path / "mine.py"))


def test_the_shipped_looks_world_reads_new_prompts_with_pushts_weights() -> None:
    looks = recipe("pusht-looks")
    assert looks.continue_from == Continuation(
        world="PushT", adapt_autoencoder=True, weight_interpolation=0.75
    )
    assert looks.dynamics.text_only
    assert looks.added_channels == 15


def test_the_shipped_student_learned_from_its_autoregressive_teacher() -> None:
    distillation = recipe("pusht").distillation
    assert distillation.student_partitions == (PARTITIONS["pipelined"],)
    taught = distillation.teacher_partition(PARTITIONS["pipelined"])
    assert taught == PARTITIONS["reactive"]


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        (Recipe, {"max_start_frames": 0}),
        (Recipe, {"preset": "smal"}),
        (AutoencoderTraining, {"batch": 2}),
        (AutoencoderTraining, {"adamw_rate": float("inf")}),
        (AutoencoderTraining, {"max_frames": 10**24}),
        (ReadoutTraining, {"batch": 10**9}),
        (AppearanceTraining, {"prompt_noise": "0.5"}),
        (AppearanceTraining, {"channels": 8}),
        (DynamicsTraining, {"steps": -1}),
        (DynamicsTraining, {"clips": 2.0}),
        (DynamicsTraining, {"rate_scale": float("nan")}),
        (DynamicsTraining, {"cooldown": 0.0}),
        (DynamicsTraining, {"text_only": "False"}),
        (DynamicsTraining, {"partitions": (("K4N1c1s1", 2.0),)}),
        (Continuation, {"world": "PushT", "weight_interpolation": 1.5}),
        (Continuation, {"world": "PushT", "decoder_steps": 10**24}),
        (Continuation, {"world": "PushT", "decoder_steps": 1, "adapt_autoencoder": True}),
        (
            Continuation,
            {"world": "PushT", "new_transformer": True, "weight_interpolation": 0.5},
        ),
        (DynamicsTraining, {"objective": "diffusion"}),
        (DynamicsTraining, {"guidance": -1.0}),
        (Distillation, {"temperature": -1.0}),
        (Distillation, {"streams": 10**12}),
        (DecoderDistillation, {"blocks": -1}),
        (Budget, {"steps": 1.5}),
        (Budget, {"steps": 1, "minutes": float("nan")}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_settings_out_of_range_are_refused_at_once(
    settings: Callable[..., object], change: dict[str, Any]
) -> None:
    with pytest.raises(StreamDiTError, match="allowed"):
        settings(**change)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"partitions": ("K4N1c1s2",), "teacher_steps": 3}, "divide"),
        ({"partitions": ("reactive", "K0N8c2s1")}, "references"),
        ({"partitions": ()}, "nothing to learn"),
    ],
)
def test_partitions_that_no_student_can_learn_are_refused(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(PartitionError, match=problem):
        Distillation(**settings)


def test_partitions_may_be_given_as_such() -> None:
    own = Partition.parse("K4N2c1s1")
    assert Distillation(partitions=(own,)).student_partitions == (own,)


def test_text_alone_is_learned_by_a_trained_world_only() -> None:
    with pytest.raises(StreamDiTError, match="text_only"):
        Recipe(dynamics=DynamicsTraining(text_only=True))
    new = Continuation(world="PushT", new_transformer=True)
    with pytest.raises(StreamDiTError, match="text_only"):
        Recipe(continue_from=new, dynamics=DynamicsTraining(text_only=True))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"continue_from": Continuation(world="PushT")},
        {
            "continue_from": Continuation(world="PushT", adapt_autoencoder=True),
            "autoencoder": AutoencoderTraining(steps=0),
        },
    ],
)
def test_new_channels_need_an_autoencoder_that_adapts(changes: dict[str, Any]) -> None:
    with pytest.raises(StreamDiTError, match="adapt_autoencoder"):
        Recipe(appearance=AppearanceTraining(channels=9), **changes)


def removed_options() -> list[tuple[str, str, str]]:
    cases = [("train", option, field) for option, field in TRAIN_FIELDS.items()]
    return cases + [("distill", option, field) for option, field in DISTILL_FIELDS.items()]


@pytest.mark.parametrize(("command", "option", "field"), removed_options())
def test_an_option_that_left_names_the_setting_that_took_its_place(
    command: str, option: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "PushT", option, "1"]) == 2
    assert f"set {field} in a recipe" in capsys.readouterr().err
    settings: Any = Recipe(continue_from=Continuation(world="PushT"))
    for name in field.split("."):
        assert name in {part.name for part in dataclasses.fields(settings)}
        settings = getattr(settings, name)


def test_the_decoders_distillation_is_a_command_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["distill", "PushT", "--decoder-blocks", "1"]) == 2
    assert "distill-decoder" in capsys.readouterr().err


def test_an_autoencoder_that_is_kept_costs_no_training() -> None:
    assert recipe("own_world").autoencoder_steps == recipe("own_world").autoencoder.steps
    kept = recipe("pusht-continuous")
    assert kept.autoencoder_steps == 0
    small = dataclasses.replace(kept, preset="tiny")
    assert estimate_training(small, (64, 64)).autoencoder == 0
