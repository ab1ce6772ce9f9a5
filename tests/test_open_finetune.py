"""Fine-tuning an open model: what is learned, what is written, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.open_training import SKYREELS, loss_curve, settings, write_data, write_model
from support.tiny_wan import diffusers

from streamdit_gym.open_training.open_run import finetune_open_model
from streamdit_gym.open_weights.wan_folder import find_wan_folder
from streamdit_gym.open_weights.wan_parts import load_transformer

pytest.importorskip("peft", reason="needs the extra open")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers()
    return write_model(tmp_path_factory.mktemp("wan") / "base")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("videos"))


def test_the_loss_falls(model: Path, data: Path, tmp_path: Path) -> None:
    long = settings(steps=60, learning_rate=1e-2, clips=4, clips_at_once=4)
    result = finetune_open_model(str(model), data, tmp_path / "run", long, "cpu")
    assert result is not None
    losses = list(loss_curve(tmp_path / "run").values())
    print(losses)
    assert len(losses) == 60
