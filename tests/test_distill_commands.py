"""The commands ``distill`` and ``distill-decoder``, from data to bundles."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from support.recorded import record_tiny

from streamdit_gym import World
from streamdit_gym.cli import main
from streamdit_gym.distill.decoder import with_fewer_blocks
from streamdit_gym.presets import PARTITIONS

RECIPE = """
from streamdit_gym.recipes import Recipe
from streamdit_gym.recipes.distillation_settings import DecoderDistillation, Distillation

recipe = Recipe(
    distillation=Distillation(steps=2, streams=4, {settings}),
    decoder=DecoderDistillation(blocks=0),
)
"""
AUTOREGRESSIVE = "autoregressive_teacher=True, teacher_steps=1"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_tiny(tmp_path_factory.mktemp("recorded"))


def command(name: str, world: str, data: Path, out: Path, settings: str = "") -> list[str]:
    """Return a command line whose recipe has some settings of the distillation."""
    recipe = out.parent / f"{out.name}.py"
    recipe.write_text(RECIPE.format(settings=settings))
    words = [name, world, "--recipe", recipe, "--data", data, "--out", out, "--device", "cpu"]
    return [str(word) for word in words]


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def test_a_guided_teacher_and_its_student_are_written(
    tiny_bundle: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "student"
    distill = command("distill", tiny_bundle, data, out, "teacher_steps=2, guidance=1.5")
    assert main(distill) == 0
    assert (
        f"evaluate {out / 'world'} --partition K4N1c1s1"
        f" --teacher {out / 'teacher'} --teacher-partition K4N1c1s2\n"
    ) in capsys.readouterr().out
    assert config_of(out / "world")["model"]["guidance"] == 1.0
    assert config_of(out / "teacher")["model"]["guidance"] == 1.5
    assert main(distill) == 2, "a run is already here"
    assert main([*distill, "--resume"]) == 0


def test_a_student_of_both_partitions_takes_its_teachers_place(
    tiny_bundle: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both"
    settings = f"partitions=('pipelined', 'reactive'), {AUTOREGRESSIVE}"
    assert main(command("distill", tiny_bundle, data, out, settings)) == 0
    lines = capsys.readouterr().out
    for partition in ("K4N4c1s1", "K4N1c1s1"):
        assert lines.count(f"--partition {partition} --teacher ") == 1
    assert "longer" not in config_of(out / "world"), "one student for both"


def test_a_student_of_longer_buffers_stands_beside_its_teacher(
    tiny_bundle: str, data: Path, tmp_path: Path
) -> None:
    settings = f"partitions=('pipelined',), temperature=0.0, {AUTOREGRESSIVE}"
    worlds = [Path(tiny_bundle)]
    for name in ("first", "second"):  # the second student continues from the first
        out = tmp_path / name
        assert main(command("distill", str(worlds[-1]), data, out, settings)) == 0
        worlds.append(out / "world")
    for before_path, after_path in itertools.pairwise(worlds):
        before = World.from_pretrained(before_path)
        after = World.from_pretrained(after_path)
        assert torch.equal(before.model.embed.weight, after.model.embed.weight)
        assert after.pipelined_model is not None
        assert after.model.config.temperature == 1.0
        assert after.pipelined_model.config.temperature == 0.0
        assert after.model_for(PARTITIONS["pipelined"]) is after.pipelined_model
        assert after.model_for(PARTITIONS["reactive"]) is after.model
        previous = before.model_for(PARTITIONS["pipelined"]).embed.weight
        assert not torch.equal(previous, after.pipelined_model.embed.weight)
        teacher = World.from_pretrained(after_path.parent / "teacher")
        assert teacher.pipelined_model is None


def test_a_decoder_becomes_shallower_and_all_else_stays(
    tiny_bundle: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shallow"
    distill = [*command("distill-decoder", tiny_bundle, data, out), "--steps", "3"]
    assert main([*distill, "--minutes", "0"]) == 0
    assert "go on with --resume" in capsys.readouterr().out
    assert main([*distill, "--resume"]) == 0
    before = World.from_pretrained(tiny_bundle)
    after = World.from_pretrained(out / "world")
    frames = torch.randint(256, (1, 2, 64, 64, 3), dtype=torch.uint8)
    assert torch.equal(before.codec.encode(frames), after.codec.encode(frames))
    untrained = with_fewer_blocks(before.codec, 0).decoder.state_dict()
    trained = after.codec.decoder.state_dict()
    shapes = [{name: value.shape for name, value in s.items()} for s in (untrained, trained)]
    assert shapes[0] == shapes[1]
    assert not torch.equal(untrained["0.weight"], trained["0.weight"])
    old_files = config_of(Path(tiny_bundle))["files"]
    new_files = config_of(out / "world")["files"]
    changed = {name for name in old_files if old_files[name] != new_files[name]}
    assert changed == {"codec.safetensors"}
