"""Training in several processes is training in one, with the batches put together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from streamdit_gym.train import parallel
from streamdit_gym.train.optimization import OptimizerPart, Optimizers

TESTS = Path(__file__).parent
PLAIN = f"""
import sys; sys.path.insert(0, {str(TESTS)!r})
from pathlib import Path
import torch
from streamdit_gym.train import parallel
from streamdit_gym.train.optimization import OptimizerPart, Optimizers
"""


def torchrun(script: str, folder: Path) -> None:
    (folder / "script.py").write_text(PLAIN + script)
    told = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(folder / "script.py"),
    ]
    done = subprocess.run(
        told,
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def lesson(rows: slice, bad: bool = False) -> torch.nn.Module:
    """One step on some rows of eight, by the trainer's own way down a gradient."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    model.register_parameter("unused", torch.nn.Parameter(torch.ones(2)))
    data = torch.randn(8, 3)[rows]
    loss = (model(data) - data.sum(1, keepdim=True)).square().mean()
    sgd = OptimizerPart(torch.optim.SGD(model.parameters(), 0.1), 0.1)
    Optimizers(model, {"sgd": sgd}).step(loss / 0 if bad else loss)
    return model


def test_two_processes_with_half_a_batch_each_are_one_with_all_of_it(tmp_path: Path) -> None:
    torchrun(
        """
from contextlib import nullcontext
from test_parallel import lesson
from streamdit_gym.errors import BusyError
from streamdit_gym.files import folder_lock
with parallel.join("cpu") as device:
    assert device == "cpu"
    me = parallel.rank()
    half = slice(4 * me, 4 * me + 4)
    torch.save(lesson(half).state_dict(), f"learned-{me}.pt")
    torch.save(lesson(half, bad=me == 1).state_dict(), f"refused-{me}.pt")
    assert parallel.highest(3 * me) == 3
    assert parallel.seed(5) != 5 or me == 0
    with parallel.in_turn():
        if me == 0:
            Path("made").write_text("by the first")
        assert Path("made").read_text() == "by the first"
    with folder_lock(Path("run")) if me == 0 else nullcontext():
        parallel.highest(0)
        try:
            with parallel.run_folder(Path("run")):
                raise AssertionError("the first process could not lock it")
        except BusyError:
            pass
    with parallel.run_folder(Path("run")):
        pass
    other = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(other.weight, float(me))
    parallel.share(other)
    assert other.weight.sum() == 0
""",
        tmp_path,
    )
    whole = lesson(slice(0, 8)).state_dict()
    untaught = lesson(slice(0, 8), bad=True).state_dict()
    for rank in range(2):
        learned, refused = (
            torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True)
            for name in ("learned", "refused")
        )
        assert all(torch.allclose(learned[key], whole[key], atol=1e-6) for key in whole)
        assert all(torch.equal(refused[key], untaught[key]) for key in whole), (
            "one bad loss is a step that nobody takes"
        )


def test_two_processes_train_one_transformer_and_resume(tmp_path: Path) -> None:
    torchrun(
        """
from support.training import QUIET, trainer_of
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stages.dynamics_stage import train_dynamics
from dataclasses import replace
with parallel.join("cpu") as device:
    for minutes in (0.0, None):
        trainer = trainer_of(replace(QUIET, steps=5), seed=parallel.rank(), device=device)
        train_dynamics(trainer, RunOptions(folder=Path("run"), device=device, minutes=minutes))
    torch.save(trainer.model.state_dict(), f"model-{parallel.rank()}.pt")
""",
        tmp_path,
    )
    first, second = (
        torch.load(tmp_path / f"model-{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.load(tmp_path / "run" / "streamdit.checkpoint.pt", weights_only=True)["step"] == 5
    assert len(list((tmp_path / "run" / "curves" / "streamdit").iterdir())) == 2, (
        "one process's curves, of two calls"
    )


def test_alone_nothing_is_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with parallel.join("cuda") as device:
        assert device == "cuda"
    assert parallel.rank() == 0
    assert parallel.highest(1) == 1
