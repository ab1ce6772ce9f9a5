"""``streamdit-gym evaluate`` and the evaluation at the end of ``build``, in a tiny world."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.pushed_dot import DEFINITION, registered_with_bundle

from streamdit_gym.cli import build_command
from streamdit_gym.cli.build_command import Build
from streamdit_gym.cli.main import main
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.evaluate.evaluation import EvaluationConfig
from streamdit_gym.evaluate.evaluator_models import EvaluatorTraining
from streamdit_gym.evaluate.real_futures import FuturesPlan

SHARDS = 3


@pytest.fixture(autouse=True)
def _small_evaluation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = EvaluationConfig(
        episodes=2,
        horizons=(1, 8),
        evaluator_training=EvaluatorTraining(
            episodes=2, episode_steps=8, probe_steps=3, inverse_steps=3
        ),
        drift_frames=16,
        drift_streams=2,
        short_episodes=2,
        futures=FuturesPlan(starts=2, futures=2, frames=6),
    )
    monkeypatch.setattr("streamdit_gym.evaluate.evaluation.QUICK", config)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recorded_world(tmp_path: Path) -> Iterator[WorldDefinition]:
    """A world that has recordings of its own, and no simulator."""
    record(DEFINITION, tmp_path / "data", RecordConfig(shards=SHARDS, episodes=4, steps=12))
    blind = replace(DEFINITION, make_simulator=None)
    with registered_with_bundle(tmp_path / "bundle", blind) as definition:
        yield definition


@pytest.fixture
def simulated_world(tmp_path: Path) -> Iterator[WorldDefinition]:
    with registered_with_bundle(tmp_path / "bundle", DEFINITION) as definition:
        yield definition


def test_a_world_of_recordings_is_evaluated_on_those_that_the_command_names(
    recorded_world: WorldDefinition, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", recorded_world.weights, "--quick", "--out", "evaluation"]
    assert main([*command, "--set", "data=data"]) == 0
    scores = json.loads(Path("evaluation/scores.json").read_text())
    assert scores["episodes"] == 2
    assert not scores["simulated"]
    assert not scores["drift"]["replayed"]
    assert scores["outcome"] is not None, "recordings hold rewards and ends"
    output = capsys.readouterr().out
    assert "acceptance criteria:" in output
    assert "the simulator" not in output


def test_a_world_of_recordings_needs_them(
    recorded_world: WorldDefinition, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", recorded_world.weights, "--quick", "--set", "data=nowhere"]
    assert main(command) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_build_ends_with_a_verdict_and_a_page(
    simulated_world: WorldDefinition,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Path("runs") / simulated_world.name

    def one_shard(self: Build, *_: object) -> int:
        return 1

    def train(self: Build, *_: object) -> None:
        shutil.copytree(simulated_world.weights, run / "world")

    monkeypatch.setattr(Build, "_planned_shards", one_shard)
    monkeypatch.setattr(Build, "_train", train)
    monkeypatch.setattr(build_command.Record, "run", lambda self: None)
    assert main(["build", simulated_world.name, "--minutes", "0.1"]) == 0
    output = capsys.readouterr().out
    assert "measuring 2 held-out episodes up to frame 8 in about" in output
    assert "acceptance criteria:" in output
    assert (run / "evaluation" / "page.html").is_file()
