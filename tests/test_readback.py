"""Whether actions are obeyed is seen while a transformer learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import wake
from support.training import FAST, PROMPTS, TINY, moving_square
from torch.nn import functional

from streamdit_gym.actions import Menu
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.train.dynamics_trainer import TEXT_KEYS, TEXT_MODULES, DynamicsTrainer
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.readback import Readback, ReadbackCheck, correlations
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stages.dynamics_stage import train_dynamics

LANGUAGE = Menu("right", "left")


def square_with_actions() -> LatentEpisodes:
    """Return the moving square, whose prompts are its actions."""
    episodes = moving_square(64)
    actions = functional.one_hot(episodes.prompts.clamp(min=0), 2).float()
    return replace(episodes, actions=actions)


def deaf_model() -> StreamDiT:
    torch.manual_seed(0)
    model = StreamDiT(TINY)
    wake(model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.split(".")[0] in TEXT_MODULES or TEXT_KEYS in name:
                weight.zero_()
    return model


@pytest.fixture(scope="module")
def check() -> ReadbackCheck:
    train, held_out = square_with_actions().split(16)
    return ReadbackCheck(train, held_out, PROMPTS, LANGUAGE, deadline=0.4)


def loop_at(progress: float) -> Any:
    """Return a training loop so far on, as the check sees it."""
    logged: dict[str, float] = {}
    stage = SimpleNamespace(progress=progress, log=logged.update, save=lambda: None)
    return SimpleNamespace(stage=stage, logged=logged)


def test_correlations_are_those_of_each_number() -> None:
    true = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0], [2.0, 1.0, 0.0]])
    read = torch.tensor([[0.0, 3.0, 0.0], [2.0, 1.0, 1.0], [4.0, 2.0, 2.0]])
    torch.testing.assert_close(correlations(read, true), torch.tensor([1.0, 0.0, -1.0]))


def test_only_readable_numbers_count() -> None:
    readback = Readback(real=torch.tensor([0.8, 0.1]), generated=torch.tensor([0.4, 0.9]))
    assert readback.is_readable
    assert readback.share == pytest.approx(0.5)


def test_a_deaf_model_is_told_from_the_real_frames(check: ReadbackCheck) -> None:
    readback = check.measure(deaf_model())
    assert readback.real.min() > 0.8
    assert abs(readback.share) < 0.15


def test_a_deaf_model_ends_the_training_after_the_deadline(check: ReadbackCheck) -> None:
    model = deaf_model()
    check.next_progress = 0.1
    early = loop_at(0.05)
    check(early, model)
    assert not early.logged, "too early to look"
    loop = loop_at(0.2)
    check(loop, model)
    assert "readback" in loop.logged
    with pytest.raises(StreamDiTError, match="ignores its actions"):
        check(loop_at(0.45), model)


def test_the_check_changes_no_random_numbers(check: ReadbackCheck) -> None:
    check.next_progress = 0.1
    model = deaf_model()
    torch.manual_seed(5)
    check(loop_at(0.2), model)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_a_training_is_checked_on_its_way(check: ReadbackCheck, tmp_path: Path) -> None:
    check.next_progress = 0.1
    settings = replace(FAST, steps=10)
    trainer = DynamicsTrainer(deaf_model(), check.episodes, PROMPTS, settings, "cpu")
    with pytest.raises(StreamDiTError, match="ignores its actions"):
        train_dynamics(trainer, RunOptions(folder=tmp_path), check=check)
    assert (tmp_path / "streamdit.checkpoint.pt").is_file(), "it can be resumed"
