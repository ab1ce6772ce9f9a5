"""The evaluator models that the package brings along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamdit_gym.data.recorder import RecordConfig, record_shard
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.envs.pusht.world import WORLD
from streamdit_gym.evaluate.evaluator_models import (
    FULL_TRAINING,
    SHIPPED_FOLDER,
    EvaluatorTraining,
    evaluator_models,
    file_name,
)
from streamdit_gym.evaluate.real_episodes import SimulatedEpisodes
from streamdit_gym.evaluate.state_errors import state_errors
from streamdit_gym.registry import world_definition


def test_only_fully_trained_evaluator_models_have_the_short_name() -> None:
    assert file_name("PushT", 1, FULL_TRAINING) == "PushT-v1.safetensors"
    small = file_name("PushT", 1, replace(FULL_TRAINING, episodes=80))
    assert small == "PushT-v1-80x256-probe5000-inverse4000-seed20000.safetensors"


def test_the_shipped_evaluator_models_read_real_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = world_definition("PushT").for_evaluation()
    shipped = file_name("PushT", reference.evaluation.evaluator_version, FULL_TRAINING)
    assert (SHIPPED_FOLDER / shipped).is_file()
    monkeypatch.setattr("streamdit_gym.evaluate.evaluator_models.train_evaluator_models", None)
    source = SimulatedEpisodes(reference=reference)
    small = EvaluatorTraining(episodes=2, episode_steps=16, probe_steps=2, inverse_steps=2)
    models = evaluator_models(SPEC, reference.evaluation, source, small, tmp_path)
    shard = record_shard(
        replace(WORLD, starts={"anywhere": 1.0}), RecordConfig(episodes=8, steps=16, seed=77), 0
    )
    states, _ = models.probe.read(shard.frames)
    errors = state_errors(states, shard.states, SPEC, reference.evaluation, np.ones(6))
    assert errors.actor_px is not None
    assert errors.body_px is not None
    assert errors.body_degrees is not None
    assert np.median(errors.actor_px) < 0.4
    assert np.median(errors.body_px) < 0.4
    assert np.median(errors.body_degrees) < 2
    assert models.actions_match(shard.frames, shard.actions).mean() > 0.8
