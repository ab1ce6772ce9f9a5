"""An open model trained by several processes, each with a part of the weights."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.open_training import loss_curve, write_data, write_model
from support.tiny_wan import diffusers

from streamdit_gym.data.imports.importer import import_recordings
from streamdit_gym.data.imports.recordings import ImportSettings
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.open_training.open_run import STAGE
from streamdit_gym.open_training.sharding import stage_class
from streamdit_gym.train.stage_run import StageRun

pytest.importorskip("peft", reason="needs the extra open")
pytestmark = pytest.mark.slow
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "0"}
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
SIZES = ["frame_size=32,48", "partitions=K1N2c1s1,K0N1c3s2", "rank=4", "clips=2", "warmup=1"]
BOUND_S = 90  # until a lost process is noticed


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers()
    return write_model(tmp_path_factory.mktemp("wan") / "base")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    videos = write_data(folder / "videos")
    sizes = ImportSettings(frame_size=(32, 48), fps=24.0)
    import_recordings(videos, "Videos", folder / "data", sizes)
    return folder / "data"


def command(model: Path, data: Path, out: Path, *more: str) -> list[str]:
    words = ["finetune", f"wan:{model}", "--data", str(data), "--out", str(out), "--set", *SIZES]
    return [*words, "learning_rate=3e-3", "negative_prompt=rain", "device=cpu", *more]


def run(words: list[str], *, processes: int) -> subprocess.CompletedProcess[str]:
    program = TORCHRUN if processes > 1 else []
    done = subprocess.run(
        [sys.executable, "-m", *program, "streamdit_gym", *words],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def weights_of(out: Path, weights: str) -> dict[str, torch.Tensor]:
    files = {
        "lora": "model/pytorch_lora_weights.safetensors",
        "full": "model/transformer/diffusion_pytorch_model.safetensors",
    }
    return safetensors.torch.load_file(out / files[weights])


def assert_equal_runs(one: Path, other: Path, weights: str) -> None:
    curve = loss_curve(one)
    assert loss_curve(other) == pytest.approx(curve, abs=1e-3)
    expected = weights_of(one, weights)
    for name, tensor in weights_of(other, weights).items():
        torch.testing.assert_close(tensor, expected[name], atol=5e-3, rtol=1e-2)


@pytest.mark.parametrize("weights", ["lora", "full"])
def test_two_processes_learn_what_one_does(
    weights: str, model: Path, data: Path, tmp_path: Path
) -> None:
    more = ["steps=6", f"weights={weights}", "average_decay=0.5"]
    for processes in (1, 2):
        run(command(model, data, tmp_path / str(processes), *more), processes=processes)
    assert len(loss_curve(tmp_path / "2")) == 6
    assert_equal_runs(tmp_path / "1", tmp_path / "2", weights)
    parts = list((tmp_path / "2").glob(f"{STAGE}.checkpoint-*/*.safetensors"))
    assert len(parts) == 2, "a file of each process, of the last checkpoint alone"


def start_pair(words: list[str]) -> list[subprocess.Popen[str]]:
    """Start two processes of a training, without a program that looks after them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pair = []
    for rank in range(2):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
        named = {name: str(value) for name, value in own.items()}
        pair.append(
            subprocess.Popen(
                [sys.executable, "-m", "streamdit_gym", *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env={**ENVIRONMENT, **named, "MASTER_ADDR": "127.0.0.1"},
            )
        )
    return pair


def wait_for_checkpoint(out: Path) -> None:
    deadline = time.monotonic() + 200
    while not (out / f"{STAGE}.checkpoint.json").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_lost_process_is_said_soon_and_the_run_goes_on(
    model: Path, data: Path, tmp_path: Path
) -> None:
    whole = ["steps=25", "checkpoint_minutes=0"]
    run(command(model, data, tmp_path / "whole", *whole), processes=2)
    killed = tmp_path / "killed"
    words = command(model, data, killed, *whole)
    pair = start_pair(words)
    wait_for_checkpoint(killed)
    time.sleep(0.5)
    pair[1].send_signal(signal.SIGKILL)
    begin = time.monotonic()
    _, said = pair[0].communicate(timeout=BOUND_S)
    assert time.monotonic() - begin < BOUND_S
    assert pair[1].wait() == -signal.SIGKILL
    pair[1].communicate()
    assert pair[0].returncode == 2
    assert "another process of this training is gone" in said
    run(words, processes=2)
    assert loss_curve(killed) == loss_curve(tmp_path / "whole")


def test_one_process_goes_on_with_what_two_began(model: Path, data: Path, tmp_path: Path) -> None:
    words = command(model, data, tmp_path / "run", "steps=6")
    run([*words, "minutes=0"], processes=2)
    run(words, processes=1)
    run(command(model, data, tmp_path / "one", "steps=6"), processes=1)
    assert_equal_runs(tmp_path / "one", tmp_path / "run", "lora")


def test_several_do_not_go_on_with_what_one_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage_class(tmp_path, STAGE) is StageRun
    (tmp_path / f"{STAGE}.checkpoint.pt").touch()
    monkeypatch.setattr("streamdit_gym.train.parallel.processes", lambda: 2)
    with pytest.raises(StreamDiTError, match="one process has begun this run"):
        stage_class(tmp_path, STAGE)
