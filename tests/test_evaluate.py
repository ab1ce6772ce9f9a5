"""The evaluation of worlds that fail in known ways, and of trained worlds; evaluator models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_tiny_world
from support.replayed_worlds import (
    DeafWorld,
    FadingWorld,
    FrozenWorld,
    PerfectWorld,
    RememberingSimulator,
    random_frames,
)

from streamdit_gym.definition import WorldDefinition
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.evaluate.candidate import (
    WorldCandidate,
)
from streamdit_gym.evaluate.comparison import compare
from streamdit_gym.evaluate.evaluation import (
    EvaluationConfig,
    Evidence,
    collect_evidence,
    evaluate_world,
)
from streamdit_gym.evaluate.evaluator_models import (
    EvaluatorModels,
    EvaluatorTraining,
    evaluator_models,
    file_name,
    save_evaluator_models,
    train_evaluator_models,
)
from streamdit_gym.evaluate.failure_modes import failure_modes
from streamdit_gym.evaluate.frame_schema import StateErrorMetrics
from streamdit_gym.evaluate.html_report import html_report
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.evaluator_accuracy import evaluator_accuracy
from streamdit_gym.evaluate.metrics.fidelity import body_has_moved, fidelity_metrics
from streamdit_gym.evaluate.metrics.reaction import reaction_metrics
from streamdit_gym.evaluate.outcomes import MetricComparison
from streamdit_gym.evaluate.real_episodes import SimulatedEpisodes
from streamdit_gym.evaluate.real_futures import FuturesPlan
from streamdit_gym.evaluate.report import text_report
from streamdit_gym.evaluate.schema import PolicyReturns, Scores
from streamdit_gym.evaluate.state_probe import StateProbe
from streamdit_gym.evaluate.statistics import estimate, median, ratio
from streamdit_gym.registry import world_definition

SMALL = EvaluationConfig(
    episodes=6,
    horizons=(1, 4, 16),
    evaluator_training=EvaluatorTraining(
        episodes=2, episode_steps=16, probe_steps=2, inverse_steps=2
    ),
    drift_frames=80,
    drift_streams=4,
    short_episodes=24,
    futures=FuturesPlan(starts=4, futures=2, frames=8),
)


@pytest.fixture(scope="module")
def reference() -> WorldDefinition:
    return replace(world_definition("PushT").for_evaluation(), make_simulator=RememberingSimulator)


@pytest.fixture(scope="module")
def evidence(reference: WorldDefinition, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return collect_evidence(SPEC, reference, SMALL, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def perfect(reference: WorldDefinition, evidence: Evidence) -> Scores:
    returns = {
        "a": PolicyReturns(generated=0.0, real=0.1),
        "b": PolicyReturns(generated=1.0, real=0.9),
        "c": PolicyReturns(generated=2.0, real=2.2),
    }
    return evaluate_world(PerfectWorld(), reference, evidence, SMALL, returns)


@pytest.fixture(scope="module")
def deaf(reference: WorldDefinition, evidence: Evidence) -> Scores:
    return evaluate_world(DeafWorld(), reference, evidence, SMALL)


def test_a_perfect_world_has_no_failure_modes(perfect: Scores) -> None:
    assert perfect.failure_modes == ()


def test_a_perfect_world_has_perfect_scores(perfect: Scores) -> None:
    first = perfect.fidelity[0]
    assert first.psnr_db.value > 60
    assert first.ssim.value == pytest.approx(1)
    assert perfect.motion.value == pytest.approx(1)
    assert perfect.drift.sharpness.generated_over_real.value == pytest.approx(1, abs=0.02)
    assert perfect.action.action_fidelity.value == pytest.approx(1)
    assert not perfect.action.other_actions_error_ratio.is_measured, "the true error is zero"
    real_effect = perfect.reaction.real.effect
    assert perfect.reaction.generated.effect == pytest.approx(real_effect, abs=0.1)
    # frames that look the same to the last grey level may hide a hair's breadth of motion
    reach = perfect.readout.tasks["reach"]
    assert reach.real_step_gain_r.value == pytest.approx(1, abs=1e-3)
    assert perfect.policies is not None
    assert perfect.policies.pearson_r.value > 0.9


def test_a_perfect_world_fails_no_criterion(perfect: Scores) -> None:
    assert [result.metric for result in perfect.criteria if result.passed is False] == []


def test_reports_of_a_perfect_world(perfect: Scores) -> None:
    assert "no failure mode found" in text_report(perfect)
    page = html_report(perfect)
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page.replace("http-equiv", ""), "the page needs nothing from outside"
    assert json.loads(perfect.to_json())["fidelity"][0]["horizon"] == 1


def row_of(rows: tuple[MetricComparison, ...], metric: str) -> MetricComparison:
    return next(row for row in rows if row.metric == metric)


def test_a_student_that_equals_its_teacher_passes(perfect: Scores) -> None:
    rows = compare(perfect, perfect, "itself").rows
    compared = [row for row in rows if row.passed is not None]
    assert {row.ratio.value for row in compared} == {1.0}
    assert all(row.passed for row in compared)


def test_of_one_episode_no_comparison_is_made(perfect: Scores) -> None:
    one_episode = estimate(np.array([[1.0], *[[np.nan]] * 5]), median)
    errors = StateErrorMetrics(actor_px=one_episode, body_px=one_episode, body_degrees=one_episode)
    fidelity = tuple(replace(row, state_error=errors) for row in perfect.fidelity)
    rows = compare(replace(perfect, fidelity=fidelity), perfect, "itself").rows
    assert row_of(rows, "fidelity.1.state_error.actor_px").passed is None


def test_an_interval_from_below_to_above_is_not_clearly_worse(perfect: Scores) -> None:
    motion = estimate(np.stack([[0.5, 0.5, 0.5, 2.0, 2.0, 3.0], np.ones(6)], -1), ratio)
    row = row_of(compare(replace(perfect, motion=motion), perfect, "itself").rows, "motion")
    assert row.passed is False
    assert not row.clearly_worse


def test_a_worse_student_is_clearly_worse_than_its_teacher(deaf: Scores, perfect: Scores) -> None:
    comparison = compare(deaf, perfect, "the simulator")
    accuracy = row_of(comparison.rows, "action.inverse_dynamics_accuracy")
    assert accuracy.passed is False
    assert accuracy.clearly_worse
    assert row_of(comparison.rows, "fidelity.16.state_error.actor_px").ratio.low > 2
    better = compare(perfect, deaf, "a deaf world")
    assert not [row.metric for row in better.rows if row.passed is False and row.clearly_worse]
    scores = replace(deaf, comparison=comparison)
    for report in (text_report(scores), html_report(scores)):
        assert "omparison with" in report
        assert "worse" in report
    written = json.loads(scores.to_json())["comparison"]["rows"]
    assert set(written[0]["ratio"]) == {"value", "low", "high", "count"}


def check_failure(scores: Scores, failure: str) -> None:
    """Check that a world is called by its failure mode, and by no other that shows in motion."""
    modes = scores.failure_modes
    assert any(mode.startswith(failure) for mode in modes), modes
    others = {"frozen", "drifts"} - {failure}
    assert not any(mode.startswith(tuple(others)) for mode in modes), modes
    assert "FAILURE" in text_report(scores)


def test_a_deaf_world_is_called_by_its_failure_mode(deaf: Scores) -> None:
    check_failure(deaf, "ignores actions")


@pytest.mark.parametrize(("world", "failure"), [(FrozenWorld, "frozen"), (FadingWorld, "drifts")])
def test_a_failing_world_is_called_by_its_failure_mode(
    world: type[PerfectWorld], failure: str, reference: WorldDefinition, evidence: Evidence
) -> None:
    check_failure(evaluate_world(world(), reference, evidence, SMALL), failure)


def test_weak_evaluator_models_are_a_failure_mode(
    reference: WorldDefinition, evidence: Evidence, perfect: Scores
) -> None:
    context = EvaluationContext(
        candidate=PerfectWorld(),
        reference=reference,
        held_out=evidence.held_out,
        models=replace(evidence.models, probe=StateProbe(SPEC).eval()),
    )
    scores = replace(perfect, evaluator=evaluator_accuracy(context))
    assert failure_modes(scores)[0].startswith("the evaluator is weak")


def models_of(
    reference: WorldDefinition, training: EvaluatorTraining, folder: Path
) -> EvaluatorModels:
    source = SimulatedEpisodes(reference=reference)
    return evaluator_models(SPEC, reference.evaluation, source, training, folder)


class _Trainer:
    """Stands in for the training of evaluator models, and counts how often it is asked for."""

    def __init__(self, models: EvaluatorModels) -> None:
        self.models = models
        self.calls = 0

    def __call__(self, *_: Any) -> EvaluatorModels:
        self.calls += 1
        return self.models


@pytest.fixture
def trainer(evidence: Evidence, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Trainer:
    trainer = _Trainer(evidence.models)
    module = "streamdit_gym.evaluate.evaluator_models"
    monkeypatch.setattr(f"{module}.train_evaluator_models", trainer)
    monkeypatch.setattr(f"{module}.SHIPPED_FOLDER", tmp_path / "nothing shipped")
    return trainer


def test_evaluator_models_are_trained_once_for_each_version_and_size(
    trainer: _Trainer, reference: WorldDefinition, tmp_path: Path
) -> None:
    size = SMALL.evaluator_training
    models_of(reference, size, tmp_path)
    loaded = models_of(reference, size, tmp_path)
    assert trainer.calls == 1
    frames = np.random.default_rng(0).integers(0, 255, (2, 5, 64, 64, 3), dtype=np.uint8)
    assert (loaded.probe.read(frames)[0] == trainer.models.probe.read(frames)[0]).all()
    actions = np.zeros((2, 4), int)
    expected = trainer.models.actions_match(frames, actions)
    assert (loaded.actions_match(frames, actions) == expected).all()
    models_of(reference, replace(size, probe_steps=3), tmp_path)
    assert trainer.calls == 2, "another size"
    raised = replace(reference.evaluation, evaluator_version=2)
    models_of(replace(reference, evaluation=raised), size, tmp_path)
    assert trainer.calls == 3, "another version"


def test_evaluator_models_are_trained_on_real_frames(reference: WorldDefinition) -> None:
    episodes = SimulatedEpisodes(reference=reference).training(2, 16, 0)
    models = train_evaluator_models(SPEC, episodes, SMALL.evaluator_training)
    frames = random_frames(2, 5)
    assert np.isfinite(models.probe.read(frames)[0]).all()
    assert models.actions_match(frames, np.zeros((2, 4), int)).shape == (2, 3)


def test_damaged_evaluator_models_are_trained_anew(
    trainer: _Trainer, reference: WorldDefinition, tmp_path: Path
) -> None:
    size = SMALL.evaluator_training
    (tmp_path / file_name("PushT", 1, size)).write_bytes(b"cut")
    models_of(reference, size, tmp_path)
    assert trainer.calls == 1


def test_evaluator_models_that_err_on_real_frames_are_trained_anew(
    trainer: _Trainer,
    reference: WorldDefinition,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    size = SMALL.evaluator_training
    path = tmp_path / file_name("PushT", 1, size)
    weak = replace(trainer.models, probe=StateProbe(SPEC).eval())
    save_evaluator_models(weak, path)
    models_of(reference, size, tmp_path)
    assert trainer.calls == 1
    assert "the probe misses the actor" in capsys.readouterr().out
    models_of(reference, size, tmp_path)
    assert trainer.calls == 1, "the new ones have replaced the weak ones"


def test_evaluator_models_that_were_weak_when_trained_are_not_trained_again(
    trainer: _Trainer,
    reference: WorldDefinition,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    size = SMALL.evaluator_training
    trainer.models = replace(trainer.models, probe=StateProbe(SPEC).eval())
    models_of(reference, size, tmp_path)
    assert "the new evaluator models are weak: the probe misses" in capsys.readouterr().out
    models_of(reference, size, tmp_path)
    assert trainer.calls == 1
    assert "are weak, and were when trained" in capsys.readouterr().out
    models_of(reference, replace(size, probe_steps=3), tmp_path)
    assert trainer.calls == 2, "another training may do better"


def test_fully_trained_evaluator_models_serve_every_size(
    trainer: _Trainer, reference: WorldDefinition, tmp_path: Path
) -> None:
    save_evaluator_models(trainer.models, tmp_path / "PushT-v1.safetensors")
    models_of(reference, SMALL.evaluator_training, tmp_path)
    assert trainer.calls == 0


def test_where_the_body_moved_copying_is_worse_than_the_truth(
    reference: WorldDefinition, evidence: Evidence
) -> None:
    context = EvaluationContext(
        candidate=PerfectWorld(),
        reference=reference,
        held_out=evidence.held_out,
        models=evidence.models,
    )
    frames = evidence.held_out.frames
    (truth,) = fidelity_metrics(context, frames, (16,))
    assert truth.moved_body.body_px.value < truth.copy_moved_body.body_px.value
    copies = frames[:, :1].repeat(frames.shape[1], 1)
    (copied,) = fidelity_metrics(context, copies, (16,))
    assert copied.moved_body.body_px.value == copied.copy_moved_body.body_px.value


def test_a_body_has_moved_if_it_is_elsewhere_or_turned(reference: WorldDefinition) -> None:
    before = np.zeros((3, 6), np.float32)
    before[:, 4] = 1
    after = before.copy()
    after[1, 2] = 1.5
    after[2, 4:] = np.cos(0.2), np.sin(0.2)
    assert body_has_moved(before, after, reference, SPEC).tolist() == [False, True, True]


def test_frames_in_flight_count_as_time_until_a_prompt_shows(
    reference: WorldDefinition, evidence: Evidence
) -> None:
    class LateWorld(PerfectWorld):
        latency_frames = 3

    at_once, late = (
        reaction_metrics(
            EvaluationContext(
                candidate=candidate,
                reference=reference,
                held_out=evidence.held_out,
                models=evidence.models,
            )
        )
        for candidate in (PerfectWorld(), LateWorld())
    )
    assert at_once.generated.frames_to_50 is not None
    assert late.generated.frames_to_50 == at_once.generated.frames_to_50 + 3
    assert late.generated.effect == (0.0, 0.0, 0.0, *at_once.generated.effect)
    assert late.real.effect == at_once.real.effect


def test_a_trained_world_is_evaluated_through_its_own_codec_and_readout(
    reference: WorldDefinition, evidence: Evidence
) -> None:
    world = make_tiny_world()
    known_phrases = tuple((phrases[1],) for phrases in SPEC.menu)  # it has no encoder for others
    adapter = replace(reference.evaluation, unseen=known_phrases)
    scores = evaluate_world(
        WorldCandidate(world, "K4N1c1s1"),
        replace(reference, evaluation=adapter),
        evidence,
        replace(SMALL, drift_frames=20),
    )
    assert scores.failure_modes, "random weights"
