"""Distilling an open model: what the student learns, how it streams, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.open_training import loss_curve, settings, write_data, write_model
from support.tiny_wan import diffusers

from streamdit_gym.cli.main import main
from streamdit_gym.errors import PartitionError
from streamdit_gym.open_training import open_run
from streamdit_gym.open_training.open_distiller import OpenDistiller
from streamdit_gym.open_training.open_run import distill_open_model
from streamdit_gym.open_weights.load_open_model import OpenSettings, load_open_model
from streamdit_gym.open_weights.open_streams import OpenStreams
from streamdit_gym.open_weights.wan_folder import find_wan_folder

pytest.importorskip("peft", reason="needs the extra open")
PARTITION = "K1N2c1s1"
TAUGHT = settings(
    partitions=(PARTITION,),
    steps=60,
    clips=8,
    clips_at_once=8,
    rank=16,
    learning_rate=1e-2,
    teacher_steps=2,
    guidance=1.5,
)
FRESH_STEPS = range(10_000, 10_010)  # whose clips and noise no training has


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers()
    return write_model(tmp_path_factory.mktemp("wan") / "base")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def distillers(monkeypatch: pytest.MonkeyPatch) -> list[OpenDistiller]:
    """The distillers of the runs of a test."""
    built = []

    class Kept(OpenDistiller):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            built.append(self)

    monkeypatch.setattr(open_run, "OpenDistiller", Kept)
    return built


@torch.no_grad()
def errors(distiller: OpenDistiller) -> tuple[float, float]:
    """Return how far the student, and its teacher in one step, are from the teacher's two steps."""
    of_student = []
    of_teacher = []
    for step in FRESH_STEPS:
        state, micro_step = distiller.start(step, range(4))
        target = distiller.teacher_velocity(state, micro_step, 2)
        student = distiller.student_velocity(state, micro_step)
        teacher = distiller.teacher_velocity(state, micro_step, 1)
        of_student.append((student - target).square().mean().item())
        of_teacher.append((teacher - target).square().mean().item())
    return float(np.mean(of_student)), float(np.mean(of_teacher))


@pytest.mark.parametrize(("weights", "rate"), [("lora", 1e-2), ("full", 3e-3)])
def test_one_step_of_the_student_is_nearer_to_two_than_one_of_the_teacher(
    weights: str,
    rate: float,
    model: Path,
    data: Path,
    tmp_path: Path,
    distillers: list[OpenDistiller],
) -> None:
    taught = replace(TAUGHT, weights=weights, learning_rate=rate)
    assert distill_open_model(str(model), data, tmp_path / "run", taught, "cpu") is not None
    student, teacher = errors(distillers[0])
    assert student < 0.6 * teacher


def test_the_teacher_stays_as_it_was(
    model: Path, data: Path, tmp_path: Path, distillers: list[OpenDistiller]
) -> None:
    targets = []
    for steps in (0, 5):
        taught = replace(TAUGHT, steps=steps)
        distill_open_model(str(model), data, tmp_path / str(steps), taught, "cpu")
        state, micro_step = distillers[0].start(7, range(2))
        targets.append(distillers[-1].teacher_velocity(state, micro_step))
    torch.testing.assert_close(targets[0], targets[1])


def test_the_student_streams_with_one_evaluation_a_move(
    model: Path, data: Path, tmp_path: Path
) -> None:
    result = distill_open_model(str(model), data, tmp_path / "run", replace(TAUGHT, steps=1), "cpu")
    stream = OpenSettings(
        frame_size=(32, 48), clip_steps=2, dtype="float32", device="cpu", idle="a cat"
    )
    loaded = load_open_model(f"wan:{result}", stream)
    assert str(loaded.partition) == PARTITION
    assert loaded.backbone.config.guidance == 1
    assert loaded.backbone.time_shift == 8
    assert OpenStreams(loaded).start(["a cat"], [1]).shape == (1, 5, 32, 48, 3)


def test_an_interrupted_distillation_goes_on_with_the_same_losses(
    model: Path, data: Path, tmp_path: Path
) -> None:
    whole = replace(TAUGHT, steps=4)
    distill_open_model(str(model), data, tmp_path / "whole", whole, "cpu")
    parts = tmp_path / "parts"
    for _ in range(3):  # each call does a step, and then its time is up
        assert (
            distill_open_model(str(model), data, parts, replace(whole, minutes=0.0), "cpu") is None
        )
    assert distill_open_model(str(model), data, parts, whole, "cpu") is not None
    assert loss_curve(parts) == loss_curve(tmp_path / "whole")


def test_a_moved_buffer_has_the_next_frames_sentences_and_its_own_frames_as_references(
    model: Path, data: Path, tmp_path: Path, distillers: list[OpenDistiller]
) -> None:
    distill_open_model(str(model), data, tmp_path / "run", replace(TAUGHT, steps=0), "cpu")
    distiller = distillers[0]
    moved = next(step for step in range(99) if distiller.start(step, range(1))[0].moves)
    batch = distiller.batches.batch(moved, range(2), 4)
    state, _ = distiller.start(moved, range(2))
    assert torch.equal(state.rows, batch.rows[:, 1:4])
    assert torch.equal(state.frames[:, -1], batch.noise[:, 3]), "a chunk begins as noise"
    first = distiller._noised(batch)
    step_size = distiller._step_size(distiller.partition, 0)
    with torch.no_grad():
        ended = first.frames + step_size * distiller.student_velocity(first, 0)
    shown = distiller.backbone.config.reference_time
    torch.testing.assert_close(
        state.references[:, 0],
        shown * ended[:, 0] + (1 - shown) * batch.noise[:, 1].roll(1, 1),
        atol=1e-3,
        rtol=1e-3,
    )
    torch.testing.assert_close(state.frames[:, 0], ended[:, 1], atol=1e-5, rtol=1e-5)


def test_the_command_makes_a_student(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["distill", f"wan:{model}", "--data", str(data), "--out", str(out), "--device", "cpu"]
    names = ["frame_size=32,48", "clips=2", "teacher_steps=2", f"partitions={PARTITION}"]
    assert main([*words, "--steps", "2", "--set", *names]) == 0
    assert f"play wan:{out / 'model'}" in capsys.readouterr().out
    record = find_wan_folder(str(out / "model")).record
    assert record is not None
    assert (record.partition, record.guidance) == (PARTITION, 1.0)
    assert main([*words, "--steps", "2", "--set", *names]) == 2
    assert "add --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["distill", "wan:x"], "--data FOLDER"),
        (["distill", "wan:x", "--recipe", "flow"], "--recipe"),
        (["distill", "wan:x", "--set", "compile=true"], "compile"),
        (["distill", "PushT", "--set", "teacher_steps=2"], "teacher_steps"),
    ],
)
def test_what_a_teacher_has_no_use_for_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_a_student_learns_one_partition_with_references(
    model: Path, data: Path, tmp_path: Path
) -> None:
    for texts in (("K1N2c1s1", "K1N1c1s1"), ("K0N2c1s1",)):
        with pytest.raises(PartitionError, match="one partition, with references"):
            distill_open_model(
                str(model), data, tmp_path / "run", replace(TAUGHT, partitions=texts), "cpu"
            )
