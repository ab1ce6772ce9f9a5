"""The commands, one after the other as a user runs them, and what they say about mistakes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from support.recorded import embed_at_random

from streamdit_gym import World
from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.evaluate.evaluation import EvaluationConfig
from streamdit_gym.evaluate.evaluator_models import EvaluatorTraining
from streamdit_gym.evaluate.real_futures import FuturesPlan
from streamdit_gym.presets import PARTITIONS

ROOT = Path(__file__).resolve().parent.parent
RECIPE = """
from dataclasses import replace
from streamdit_gym.recipes import recipe as find_recipe

tiny = find_recipe("tiny")
recipe = replace(tiny, distillation=replace(tiny.distillation, {settings}))
"""


@dataclass(frozen=True)
class Run:
    """A world that was recorded, trained and distilled by the command line."""

    data: Path
    world: Path
    student: Path
    teacher: Path


def write_recipe(path: Path, settings: str) -> Path:
    path.write_text(RECIPE.format(settings=settings))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("commands")
    data = folder / "data"
    record = f"record PushT --out {data} --shards 2"
    settings = ["--set", "episodes=2", "steps=12", "workers=1"]
    assert main([*record.split(), *settings]) == 0
    embed_at_random(data)
    train = f"train PushT --recipe tiny --data {data} --out {folder / 'run'} --steps 2"
    assert main(train.split()) == 0
    world = folder / "run" / "world"
    recipe = write_recipe(folder / "guided.py", "teacher_steps=2, guidance=1.5")
    student = folder / "student"
    distill = f"distill {world} --recipe {recipe} --data {data} --out {student} --steps 2"
    assert main(distill.split()) == 0
    return Run(data=data, world=world, student=student / "world", teacher=student / "teacher")


def model_config(bundle: Path) -> dict[str, float]:
    return json.loads((bundle / "config.json").read_text())["model"]


@pytest.mark.slow
def test_a_training_that_is_there_is_only_resumed(
    trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained.world.parent
    train = f"train PushT --recipe tiny --data {trained.data} --out {folder} --steps 2".split()
    assert main(train) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*train, "--resume"]) == 0


@pytest.mark.slow
def test_the_teacher_keeps_its_guidance_and_the_student_needs_none(trained: Run) -> None:
    assert model_config(trained.student)["guidance"] == 1.0
    assert model_config(trained.teacher)["guidance"] == 1.5


@pytest.mark.slow
def test_a_distillation_ends_with_the_commands_that_compare_it(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = "teacher_steps=1, autoregressive_teacher=True, partitions=('pipelined', 'reactive')"
    recipe = write_recipe(tmp_path / "both.py", settings)
    out = tmp_path / "both"
    distill = f"distill {trained.world} --recipe {recipe} --data {trained.data} --out {out}"
    assert main([*distill.split(), "--steps", "2"]) == 0
    printed = capsys.readouterr().out
    for partition in ("K4N4c1s1", "K4N1c1s1"):
        line = (
            f"evaluate {out / 'world'} --teacher {out / 'teacher'}"
            f" --set partition={partition} teacher_partition=K4N1c1s1\n"
        )
        assert printed.count(line) == 1
    assert World.from_pretrained(out / "world").pipelined_model is None, "one student for both"


@pytest.mark.slow
def test_a_pipelined_student_stands_beside_the_worlds_own_transformer(
    trained: Run, tmp_path: Path
) -> None:
    settings = (
        "teacher_steps=1, autoregressive_teacher=True, partitions=('pipelined',), temperature=0.0"
    )
    recipe = write_recipe(tmp_path / "pipelined.py", settings)
    out = tmp_path / "pipelined"
    distill = f"distill {trained.world} --recipe {recipe} --data {trained.data} --out {out}"
    assert main([*distill.split(), "--steps", "1"]) == 0
    before, after = World.from_pretrained(trained.world), World.from_pretrained(out / "world")
    assert torch.equal(before.model.embed.weight, after.model.embed.weight)
    assert after.pipelined_model is not None
    assert not torch.equal(after.model.embed.weight, after.pipelined_model.embed.weight)
    assert after.model.config.temperature == 1.0
    assert after.pipelined_model.config.temperature == 0.0
    assert after.model_for(PARTITIONS["pipelined"]) is after.pipelined_model
    assert after.model_for(PARTITIONS["reactive"]) is after.model
    assert World.from_pretrained(out / "teacher").pipelined_model is None


@pytest.mark.slow
def test_a_shallower_decoder_leaves_the_rest_of_the_world_as_it_was(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"distill-decoder {trained.world} --recipe tiny --data {trained.data}".split()
    command += ["--out", str(tmp_path), "--steps", "3"]
    assert main([*command, "--minutes", "0"]) == 0
    assert "go on with --resume" in capsys.readouterr().out
    assert main([*command, "--resume"]) == 0
    before, after = World.from_pretrained(trained.world), World.from_pretrained(tmp_path / "world")
    frames = torch.randint(256, (1, 2, 64, 64, 3), dtype=torch.uint8)
    assert torch.equal(before.codec.encode(frames), after.codec.encode(frames))
    old, new = (
        json.loads((folder / "config.json").read_text())["files"]
        for folder in (trained.world, tmp_path / "world")
    )
    assert {name for name in old if old[name] != new[name]} == {"codec.safetensors"}


@pytest.fixture
def quick_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EvaluationConfig(
        episodes=2,
        horizons=(1, 8),
        evaluator_training=EvaluatorTraining(episodes=2, probe_steps=3, inverse_steps=3),
        drift_frames=16,
        short_episodes=2,
        futures=FuturesPlan(starts=2, futures=2, frames=6),
    )
    monkeypatch.setattr("streamdit_gym.evaluate.evaluation.QUICK", config)
    monkeypatch.setattr("streamdit_gym.cli.evaluate_command.POLICY_EPISODES", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_evaluation")
def test_an_evaluation_writes_scores_page_pictures_and_card(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = shutil.copytree(trained.world, tmp_path / "world")
    out = tmp_path / "evaluation"
    command = ["evaluate", str(world), "--quick", "--card", "--out", str(out)]
    command += ["--teacher", str(trained.student)]
    assert main([*command, "--policies", "random", "scripted:0.5"]) == 0
    found = json.loads((out / "scores.json").read_text())
    assert found["schema_version"] == 3
    assert {"fidelity", "action", "text", "drift", "reaction", "readout"} <= set(found)
    assert {"policies", "speed", "criteria", "failure_modes"} <= set(found)
    assert set(found["policies"]["returns"]) == {"random", "scripted:0.5"}
    assert {"label", "ratio", "passed"} <= set(found["comparison"]["rows"][0])
    assert (out / "strips.png").stat().st_size > 1000
    assert (out / "page.html").read_text().startswith("<!doctype html>")
    assert "| frames | PSNR |" in (world / "README.md").read_text()
    facts = json.loads((world / "config.json").read_text())["facts"]
    assert "comparison" not in facts["scores"], "the teacher is no fact about the world"
    assert "comparison with its teacher" in capsys.readouterr().out


def test_no_card_is_written_from_scores_with_extra_latency(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", "PushT", "--card", "--set", "extra_latency=3"]) == 2
    assert "only frames can have extra latency" in capsys.readouterr().err


@pytest.mark.slow
def test_an_agent_is_trained_in_the_world(trained: Run, tmp_path: Path) -> None:
    settings = "--set episodes=2 num_envs=2 check_every=0 n_steps=32 batch_size=64"
    train = f"rl train --world {trained.world} --out {tmp_path} --steps 64 {settings}"
    assert main(train.split()) == 0
    assert (tmp_path / "seed-0" / "policy.safetensors").is_file()


@pytest.mark.slow
def test_the_bench_writes_its_figures(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench"
    bench = f"bench {trained.world} --envs 1 2 --set steps=2 preset=tiny --out {out}"
    assert main(bench.split()) == 0
    printed = capsys.readouterr().out
    assert "env steps/s" in printed
    assert "weights (random)" in printed
    assert len(json.loads((out / "bench.json").read_text())["steps"]) == 2
    assert (out / "bench.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("record PusT", "did you mean 'PushT'"),
        ("train PushT --data nowhere --out /tmp/none", "streamdit-gym record"),
        ("train PushT --recipe tinny", "did you mean 'tiny'"),
        ("evaluate PushTT", "did you mean 'PushT'"),
        ("evaluate PushT --policies randm", "did you mean 'random'"),
        ("bench --envs 1 --set steps=1 preset=paper", "did you mean"),
        ("bench --json-file figures.json", "--out FOLDER"),
        ("evaluate PushT --html page.html", "--out FOLDER"),
        ("evaluate PushT --against PushT", "leave it out"),
    ],
)
def test_bad_input_gets_one_clear_error(
    command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_ctrl_c_while_recording_keeps_whole_shards_and_says_how_to_go_on(tmp_path: Path) -> None:
    record = f"record PushT --out {tmp_path} --shards 500 --set episodes=1 steps=5 workers=2"
    command = [sys.executable, "-W", "ignore", "-m", "streamdit_gym.cli", *record.split()]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    for _ in range(600):
        if list(tmp_path.glob("shard-*.npz")):
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Go on with: streamdit-gym record PushT" in error
    assert Dataset(tmp_path).shard(0).frames.shape == (1, 6, 64, 64, 3)
