"""The training loop: it resumes, Ctrl-C loses nothing, and the schedule ends where it should."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.training import same_weights, train_square

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.train import stage_run
from streamdit_gym.train.average import WeightAverage, averaged_weights
from streamdit_gym.train.loop import TrainingLoop
from streamdit_gym.train.muon import Muon, orthogonal
from streamdit_gym.train.optimization import (
    OptimizerPart,
    Optimizers,
    adamw_only,
    cosine_schedule,
    linear_cooldown,
)
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stage_run import Budget, StageRun


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "streamdit.checkpoint.pt", weights_only=True)


def test_a_finished_training_is_only_read_back(tmp_path: Path) -> None:
    first = train_square(tmp_path, steps=6)
    assert same_weights(first, train_square(tmp_path, steps=6))


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    train_square(tmp_path, steps=6)
    train_square(tmp_path, steps=9)
    assert checkpoint(tmp_path)["step"] == 9
    assert list((tmp_path / "curves" / "streamdit").iterdir())


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    train_square(tmp_path, steps=1)
    narrow = StreamDiT(StreamDiTConfig(width=32, depth=2, heads=2))
    with pytest.raises(StreamDiTError, match="another run folder"):
        train_square(tmp_path, narrow, steps=2)


def test_a_resumed_training_takes_the_rate_of_its_recipe(tmp_path: Path) -> None:
    rates = DynamicsTraining()
    train_square(tmp_path, steps=2)
    train_square(tmp_path, steps=3, rate_scale=0.1)
    factor = linear_cooldown(rates.cooldown)(2, 2 / 3)
    saved = checkpoint(tmp_path)
    for name, peak in (("matrices", rates.muon_rate), ("others", rates.adamw_rate)):
        assert saved[name]["param_groups"][0]["lr"] == pytest.approx(0.1 * peak * factor)


def test_ctrl_c_keeps_the_step_at_hand(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    stage = StageRun(tmp_path, "stage", {"layer": layer})
    with pytest.raises(KeyboardInterrupt):
        for step in stage.steps(Budget(steps=100)):
            layer.weight.data.fill_(float(step))
            if step == 4:
                os.kill(os.getpid(), signal.SIGINT)
    restored = torch.nn.Linear(2, 2)
    resumed = StageRun(tmp_path, "stage", {"layer": restored})
    assert resumed.step == 5
    assert not resumed.finished
    assert (restored.weight == 4).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_minutes_end_a_call_and_leave_the_stage_unfinished(tmp_path: Path) -> None:
    stage = StageRun(tmp_path, "stage", {})
    assert len(list(stage.steps(Budget(steps=1000, minutes=0.0)))) == 1
    assert not stage.finished


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that the stage reads, in seconds."""
    now = [0.0]
    monkeypatch.setattr(stage_run.time, "monotonic", lambda: now[0])
    return now


def progress_of(stage: StageRun, budget: Budget, clock: list[float]) -> list[float]:
    """Return the progress at every step, each of which takes a tenth of a minute."""
    progress: list[float] = []
    for _ in stage.steps(budget):
        progress.append(stage.progress)
        clock[0] += 6.0
    return progress


def test_progress_follows_the_steps(tmp_path: Path, clock: list[float]) -> None:
    stage = StageRun(tmp_path, "stage", {})
    progress = progress_of(stage, Budget(steps=4, minutes=9.0), clock)
    assert progress == [0.0, 0.25, 0.5, 0.75]


def test_progress_may_follow_the_minutes(tmp_path: Path, clock: list[float]) -> None:
    stage = StageRun(tmp_path, "stage", {})
    budget = Budget(steps=10**6, minutes=1.0, end_with_minutes=True)
    progress = progress_of(stage, budget, clock)
    # the first step compiles, and its time takes no part
    assert progress == pytest.approx([0.0, *(i / 9 for i in range(10))], abs=1e-5)
    resumed = Budget(steps=22, minutes=2.0, end_with_minutes=True)
    progress = progress_of(stage, resumed, clock)
    # steps done before count, and the nearer end rules
    assert progress == pytest.approx([(11 + i) / 22 for i in range(11)], abs=1e-5)


@pytest.mark.parametrize("end_with_minutes", [True, False])
def test_the_learning_rate_ends_with_the_minutes_if_the_recipe_says_so(
    end_with_minutes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(stage_run.time, "monotonic", tick)
    train_square(tmp_path, minutes=0.5, steps=10_000, end_with_minutes=end_with_minutes)
    saved = checkpoint(tmp_path)
    factor = saved["matrices"]["param_groups"][0]["lr"] / DynamicsTraining().muon_rate
    assert 10 < saved["step"] < 40
    if end_with_minutes:
        assert factor == pytest.approx(0.0, abs=0.2)
    else:
        warm_up = 100 * ((saved["step"] - 1) / 10_000 + 1e-4)
        assert factor == pytest.approx(warm_up, abs=1e-6)


def test_schedules_warm_up_and_end_at_zero() -> None:
    cosine = cosine_schedule()
    assert cosine(0, 0.0) == pytest.approx(0.01)
    assert cosine(99, 0.099) > 0.97
    assert cosine(1000, 1.0) == pytest.approx(0.0)
    cooldown = linear_cooldown(0.5)
    assert cooldown(0, 0.0) == pytest.approx(0.01)
    assert cooldown(0, 0.5) == 1.0
    assert cooldown(0, 0.75) == pytest.approx(0.5)


class LayerTrainer:
    """The least that a stage needs: a module's loss on batches of its own."""

    def __init__(self) -> None:
        self.layer = torch.nn.Linear(2, 1)
        self.seeds: list[tuple[int, int]] = []

    def seed(self, seed: int, step: int) -> None:
        self.seeds.append((seed, step))

    def loss(self, step: int, progress: float) -> torch.Tensor:
        return self.layer(torch.randn(4, 2)).square().mean()

    def rehearse(self) -> None:
        pass


def run_stage(trainer: LayerTrainer, folder: Path, steps: int) -> bool:
    loop = TrainingLoop(
        name="stage",
        module=trainer.layer,
        trainer=trainer,
        optimizers=adamw_only(trainer.layer, 1e-2),
        schedule=cosine_schedule(),
        seed=7,
        steps=steps,
        options=RunOptions(folder=folder),
    )
    return loop.run()


def test_a_resumed_stage_goes_on_with_random_numbers_of_its_own(tmp_path: Path) -> None:
    first = LayerTrainer()
    resumed = LayerTrainer()
    assert run_stage(first, tmp_path, steps=3)
    assert run_stage(resumed, tmp_path, steps=5)
    assert first.seeds == [(7, 0)]
    assert resumed.seeds == [(7 + 3, 3)]


def test_a_stage_leaves_averaged_weights_ready_to_evaluate(tmp_path: Path) -> None:
    trainer = LayerTrainer()
    run_stage(trainer, tmp_path, steps=3)
    saved = torch.load(tmp_path / "stage.checkpoint.pt", weights_only=True)
    assert not trainer.layer.training
    assert torch.equal(trainer.layer.weight, saved["average"]["shadow"]["weight"])
    assert not torch.equal(trainer.layer.weight, saved["stage"]["weight"])


def one_layer() -> tuple[torch.nn.Linear, Optimizers]:
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    sgd = torch.optim.SGD(layer.parameters(), lr=1.0)
    return layer, Optimizers(layer, {"sgd": OptimizerPart(sgd, 0.1)})


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda weight: weight.sum() * float("nan"),
        lambda weight: (weight - 1).abs().sqrt().sum(),  # finite, with an infinite gradient
    ],
    ids=["loss", "gradient"],
)
def test_what_is_not_finite_does_not_reach_the_weights(
    loss_of: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    layer, optimizers = one_layer()
    optimizers.prepare(1.0)
    optimizers.step(loss_of(layer.weight))
    assert layer.weight.item() == 1.0


def test_a_step_descends_a_clipped_gradient() -> None:
    layer, optimizers = one_layer()
    optimizers.prepare(0.5)
    optimizers.step(1000 * layer.weight.sum())
    assert layer.weight.item() == pytest.approx(1.0 - 0.5 * 0.1)


def test_the_average_follows_the_weights() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0.0)
    average = WeightAverage(layer, 0.9)
    layer.weight.data.fill_(1.0)
    expected = 0.0
    for update in range(1, 30):
        average.update(layer)
        decay = min(0.9, (1 + update) / (10 + update))
        expected += (1 - expected) * (1 - decay)
    with averaged_weights(layer, average):
        assert layer.weight.item() == pytest.approx(expected, abs=1e-5)
    assert layer.weight.item() == 1.0
    average.copy_to(layer)
    assert layer.weight.item() == pytest.approx(expected, abs=1e-5)


def trained_matrices(make: Callable[..., torch.optim.Optimizer]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    shapes = ((8, 16), (16, 8), (8, 16))
    matrices = [torch.nn.Parameter(torch.randn(*shape)) for shape in shapes]
    optimizer = make(matrices)
    for _ in range(4):
        for matrix in matrices:
            matrix.grad = torch.randn_like(matrix)
        optimizer.step()
    return [matrix.detach() for matrix in matrices]


def test_muon_is_torchs_muon_on_all_matrices_of_a_shape_at_once() -> None:
    own = trained_matrices(lambda matrices: Muon(matrices, lr=1e-2))
    torchs = trained_matrices(
        lambda matrices: torch.optim.Muon(
            matrices, lr=1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
    )
    for matrix, expected in zip(own, torchs, strict=True):
        torch.testing.assert_close(matrix, expected, atol=1e-3, rtol=1e-2)


def test_muon_takes_a_kernel_as_a_matrix_of_one_row_per_output() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(8, 4, 3, 3)
    as_kernel = torch.nn.Parameter(kernel.clone())
    as_matrix = torch.nn.Parameter(kernel.flatten(1).clone())
    for weight in (as_kernel, as_matrix):
        optimizer = Muon([weight], lr=1e-2)
        for step in range(3):
            generator = torch.Generator().manual_seed(step)
            weight.grad = torch.randn(kernel.shape, generator=generator).view_as(weight)
            optimizer.step()
    torch.testing.assert_close(as_kernel.flatten(1), as_matrix)
    assert not torch.equal(as_kernel, kernel)


def test_orthogonal_matrices_have_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, 24, 10)).float())
    assert values.min() > 0.5
    assert values.max() < 1.5
