"""Exports draw what the engine draws, and are whole or not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_table, make_tiny_world, wake

from streamdit_gym.actions import SpokenBox, direction_ends
from streamdit_gym.cli import main
from streamdit_gym.errors import ArgumentError, PartitionError
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.world import World, shipped_worlds

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from streamdit_gym.export import export_world as exporting
from streamdit_gym.export.agreement import (
    FRAMES,
    MAX_GREY_LEVELS,
    AgreementError,
    check_agreement,
    grey_levels_apart,
)
from streamdit_gym.export.export_world import ExportedGraphs, export_world, read_phrases
from streamdit_gym.export.exported_stream import ExportedStream

FEW_FRAMES = 12
BOX = SpokenBox(
    across=("hard left", "left", "still", "right", "hard right"), down=("up", "still", "down")
)


def world_with(**config: Any) -> World:
    """Return a tiny world whose transformer is of another kind."""
    world = make_tiny_world()
    torch.manual_seed(2)
    model = StreamDiT(replace(world.model.config, **config))
    wake(model)
    return replace(world, model=model.eval().requires_grad_(False))


def box_world() -> World:
    """Return a tiny world with continuous actions."""
    world = make_tiny_world()
    spec = replace(world.spec, actions=BOX)
    return replace(world, spec=spec, table=make_table(BOX.clauses))


def apart_after_export(world: World, partition: str, folder: Path) -> int:
    graphs = ExportedGraphs.of(world, partition)
    graphs.write(folder, with_encoder=False)
    return grey_levels_apart(folder, world, graphs.partition, FEW_FRAMES)


@pytest.mark.parametrize(
    ("config", "partition"),
    [
        pytest.param({}, "reactive", id="reactive"),
        pytest.param({"temperature": 0.7}, "pipelined", id="pipelined"),
        pytest.param({"sees_noise": True, "micro_steps": 3}, "reactive", id="flow"),
        pytest.param({"guidance": 1.5}, "reactive", id="guided"),
        pytest.param({"reference_time": 0.9}, "reactive", id="noisy references"),
    ],
)
def test_an_export_draws_what_the_engine_draws(
    config: dict[str, Any], partition: str, tmp_path: Path
) -> None:
    assert apart_after_export(world_with(**config), partition, tmp_path) <= MAX_GREY_LEVELS


def test_an_export_places_continuous_actions_between_their_words(tmp_path: Path) -> None:
    assert apart_after_export(box_world(), "reactive", tmp_path) <= MAX_GREY_LEVELS


def test_an_export_of_another_world_does_not_pass(tmp_path: Path) -> None:
    graphs = ExportedGraphs.of(make_tiny_world(), "reactive")
    graphs.write(tmp_path, with_encoder=False)
    with pytest.raises(AgreementError, match="draw other frames"):
        check_agreement(tmp_path, world_with(), graphs.partition)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "partition"),
    [*[(name, "reactive") for name in shipped_worlds()], ("PushT", "pipelined")],
)
def test_every_shipped_world_is_exported(name: str, partition: str, tmp_path: Path) -> None:
    world = World.from_pretrained(name)
    graphs = ExportedGraphs.of(world, partition)
    graphs.write(tmp_path, with_encoder=False)
    assert grey_levels_apart(tmp_path, world, graphs.partition, FRAMES) <= MAX_GREY_LEVELS


def test_the_command_writes_networks_with_their_description(
    tiny_bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "onnx"
    assert main(["export", tiny_bundle, "--set", "to=onnx", "--out", str(out)]) == 0
    assert "grey levels from the engine" in capsys.readouterr().out
    description = json.loads((out / "world.json").read_text())
    assert {path.name for path in out.iterdir()} == {
        "world.json",
        "world.bin",
        *description["graphs"],
    }
    assert description["world"] == "PushT"
    assert description["actions"]["phrases"][description["actions"]["buttons"][0]] == "stay"


def test_prompts_of_your_own_get_buttons(tmp_path: Path) -> None:
    world = make_tiny_world()
    paraphrase = world.spec.menu[1][1]  # embedded already
    ExportedGraphs.of(world, "reactive", [paraphrase]).write(tmp_path, with_encoder=False)
    actions = json.loads((tmp_path / "world.json").read_text())["actions"]
    buttons = [actions["phrases"][row] for row in actions["buttons"]]
    assert buttons == [*(phrases[0] for phrases in world.spec.menu), paraphrase]


def test_a_file_of_prompts_has_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a red T\n\n  a  green table\na red T\n")
    assert read_phrases(path) == ["a red T", "a green table"]
    path.write_text("\n".join(map(str, range(100))))
    with pytest.raises(ArgumentError, match="too many"):
        read_phrases(path)
    with pytest.raises(ArgumentError, match="cannot be read"):
        read_phrases(tmp_path / "none.txt")


def test_continuous_actions_take_no_prompts_of_your_own() -> None:
    with pytest.raises(ArgumentError, match="no prompts of its own"):
        ExportedGraphs.of(box_world(), "reactive", ["a red T"])


def test_the_encoder_is_exported(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    world = make_tiny_world()
    ExportedGraphs.of(world, "reactive").write(tmp_path, with_encoder=True)
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    (latents,) = onnxruntime.InferenceSession(str(tmp_path / "encoder.onnx")).run(
        None, {"frames": frames}
    )
    expected = world.encode(torch.from_numpy(frames)[None])[0].numpy()
    np.testing.assert_allclose(latents, expected, atol=1e-4)


def test_a_value_outside_the_box_is_moved_to_its_border(tmp_path: Path) -> None:
    ExportedGraphs.of(box_world(), "reactive").write(tmp_path, with_encoder=False)
    stream = ExportedStream(tmp_path)
    np.testing.assert_array_equal(stream.values([5.0, -5.0]), stream.values([1.0, -1.0]))


def test_directions_are_the_ends_whose_words_name_them() -> None:
    assert direction_ends(BOX) == {
        "left": (0, -1.0),
        "right": (0, 1.0),
        "up": (1, -1.0),
        "down": (1, 1.0),
    }


def test_directions_that_no_word_names_are_the_first_two_dimensions() -> None:
    box = SpokenBox(gas=("none", "full"), wheel=("less", "more"), low=0.0)
    expected = {"left": (0, 0.0), "right": (0, 1.0), "down": (1, 0.0), "up": (1, 1.0)}
    assert direction_ends(box) == expected
    assert set(direction_ends(SpokenBox(gas=("none", "full")))) == {"left", "right"}


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ArgumentError, match="something at --out"):
        export_world(make_tiny_world(), tmp_path, to="onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disagree(*arguments: Any) -> int:
        raise AgreementError("the exported networks draw other frames than the world")

    monkeypatch.setattr(exporting, "check_agreement", disagree)
    with pytest.raises(AgreementError):
        export_world(make_tiny_world(), tmp_path / "out", to="onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_a_cache_is_refused(tmp_path: Path) -> None:
    world = world_with(causal=False)
    with pytest.raises(PartitionError, match="cannot be exported"):
        export_world(world, tmp_path / "out", to="onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_partition_is_refused(
    tiny_bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", tiny_bundle, "--out", str(tmp_path / "out")]
    assert main([*arguments, "--set", "partition=K4N2c2s1"]) == 2
    assert "reactive" in capsys.readouterr().err
