"""The evaluation of worlds that fail in known ways, and of trained worlds; evaluator models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import make_tiny_world

from streamdit_gym.data.recorder import RecordConfig, record_shard
from streamdit_gym.definition import WorldDefinition, WorldSpec
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.envs.pusht.object_integrity import object_integrity
from streamdit_gym.envs.pusht.phrases import UNSEEN_PHRASES
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.envs.pusht.world import WORLD
from streamdit_gym.errors import PartitionError, StreamDiTError
from streamdit_gym.evaluate.candidate import (
    Actions,
    Frames,
    Prompts,
    Rollout,
    WorldCandidate,
    sampled_prompts,
    teacher_of,
)
from streamdit_gym.evaluate.comparison import compare
from streamdit_gym.evaluate.evaluation import (
    EvaluationConfig,
    Evidence,
    collect_evidence,
    evaluate_world,
)
from streamdit_gym.evaluate.evaluator_models import (
    FULL_TRAINING,
    SHIPPED_FOLDER,
    EvaluatorModels,
    EvaluatorTraining,
    evaluator_models,
    file_name,
    save_evaluator_models,
    train_evaluator_models,
)
from streamdit_gym.evaluate.frame_schema import StateErrorMetrics
from streamdit_gym.evaluate.html_report import html_report
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.fidelity import body_has_moved, fidelity_metrics
from streamdit_gym.evaluate.metrics.reaction import reaction_metrics
from streamdit_gym.evaluate.outcomes import MetricComparison
from streamdit_gym.evaluate.real_episodes import SimulatedEpisodes
from streamdit_gym.evaluate.report import text_report
from streamdit_gym.evaluate.schema import PolicyReturns, Scores
from streamdit_gym.evaluate.state_errors import state_errors
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
)
ACTION_OF = {
    phrase: action
    for action in range(len(SPEC.menu))
    for phrase in (*SPEC.menu[action], *UNSEEN_PHRASES[action])
}


class RememberingSimulator(PushTSimulator):
    """The simulator, remembering how to come back to every frame it ever showed."""

    memory: ClassVar[dict[bytes, tuple[Any, np.ndarray]]] = {}

    def _small_frame(self, large: np.ndarray) -> np.ndarray:
        frame = super()._small_frame(large)
        self.memory[frame.tobytes()] = (self.save(), self.scores())
        return frame


class PerfectWorld:
    """The reference simulator as a candidate. Its subclasses fail in one way each."""

    spec: WorldSpec = SPEC
    partition_name = "replayed"
    latency_frames = 0

    def action(self, row: int, step: int, prompt: str) -> int:
        return ACTION_OF[prompt]

    def show(self, frames: np.ndarray) -> np.ndarray:
        return frames

    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        simulator = RememberingSimulator()
        known = context.shape[1] - 1
        frames = []
        scores = []
        for row, episode in enumerate(prompts):
            saved, _ = RememberingSimulator.memory[context[row, -1].tobytes()]
            simulator.restore(saved)
            episode_frames = []
            episode_scores = []
            for step, prompt in enumerate(episode[known:]):
                episode_frames.append(simulator.step(self.action(row, step, prompt)))
                episode_scores.append(simulator.scores())
            frames.append(self.show(np.stack(episode_frames)))
            scores.append(np.stack(episode_scores))
        simulator.close()
        return Rollout(frames=np.stack(frames), scores=np.stack(scores))

    def reconstruct(self, frames: Frames) -> Frames:
        return frames

    def read(self, frames: Frames) -> np.ndarray:
        memory = RememberingSimulator.memory
        return np.stack([np.stack([memory[frame.tobytes()][1] for frame in row]) for row in frames])

    def read_outcomes(self, frames: Frames, actions: Actions) -> None:
        return None


class DeafWorld(PerfectWorld):
    """Does what it likes."""

    def action(self, row: int, step: int, prompt: str) -> int:
        return (row + step // 6) % 9


class FadingWorld(PerfectWorld):
    """Turns white."""

    def show(self, frames: np.ndarray) -> np.ndarray:
        steps = np.arange(1, len(frames) + 1)
        contrast = np.clip(1 - steps / 80, 0, 1)[:, None, None, None]
        return (255 - contrast * (255.0 - frames)).round().astype(np.uint8)


class FrozenWorld(PerfectWorld):
    """Never moves."""

    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        steps = len(prompts[0]) - context.shape[1] + 1
        last = context[:, -1:]
        return Rollout(frames=last.repeat(steps, 1), scores=self.read(last).repeat(steps, 1))


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


def test_a_worse_student_is_clearly_worse_than_its_teacher(
    reference: WorldDefinition, evidence: Evidence, perfect: Scores
) -> None:
    deaf = evaluate_world(DeafWorld(), reference, evidence, SMALL)
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


@pytest.mark.parametrize(
    ("world", "failure"),
    [(FrozenWorld, "frozen"), (DeafWorld, "ignores actions"), (FadingWorld, "drifts")],
)
def test_a_failing_world_is_called_by_its_failure_mode(
    world: type[PerfectWorld], failure: str, reference: WorldDefinition, evidence: Evidence
) -> None:
    scores = evaluate_world(world(), reference, evidence, SMALL)
    modes = scores.failure_modes
    assert any(mode.startswith(failure) for mode in modes), modes
    others = {"frozen", "drifts"} - {failure}
    assert not any(mode.startswith(tuple(others)) for mode in modes), modes
    assert "FAILURE" in text_report(scores)


def test_weak_evaluator_models_are_a_failure_mode(
    reference: WorldDefinition, evidence: Evidence
) -> None:
    untrained = replace(evidence.models, probe=StateProbe(SPEC).eval())
    weak = replace(evidence, models=untrained)
    scores = evaluate_world(PerfectWorld(), reference, weak, SMALL)
    assert scores.failure_modes[0].startswith("the evaluator is weak")


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
    models = models_of(reference, SMALL.evaluator_training, tmp_path)
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


def test_the_evaluator_takes_one_frame_a_chunk() -> None:
    with pytest.raises(PartitionError, match="action by action"):
        WorldCandidate(make_tiny_world(), "K4N2c2s1")


def random_frames(episodes: int, frames: int) -> np.ndarray:
    shape = (episodes, frames, 64, 64, 3)
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("partition", "extra_latency"),
    [("K4N1c1s1", 0), ("K4N1c1s2", 0), ("K4N4c1s1", 0), ("K4N1c1s1", 3), ("K4N2c1s1", 2)],
)
def test_a_candidates_frames_match_its_prompts(partition: str, extra_latency: int) -> None:
    """With a buffer of N the frames come N - 1 later; the evaluator sees them where they belong."""
    candidate = WorldCandidate(make_tiny_world(), partition, extra_latency)
    prompts = [SPEC.menu[i % 9][0] for i in range(6)]
    others = [*prompts[:3], SPEC.menu[8][0], *prompts[4:]]
    frames, other_frames = (
        candidate.roll_out(random_frames(1, 1), [episode]).frames[0].astype(int)
        for episode in (prompts, others)
    )
    assert frames.shape == (6, 64, 64, 3)
    changed = np.abs(frames - other_frames).max((1, 2, 3)) > 0
    assert not changed[:3].any()
    assert changed[3]


def test_a_candidate_with_extra_latency_idles_first() -> None:
    world = make_tiny_world()
    prompts = [SPEC.menu[i][0] for i in range(1, 5)]
    late = WorldCandidate(world, extra_latency=3)
    plain = WorldCandidate(world)
    frames = late.roll_out(random_frames(1, 1), [prompts]).frames
    after_idling = plain.roll_out(random_frames(1, 1), [[SPEC.menu[0][0]] * 3 + prompts]).frames
    assert np.array_equal(frames, after_idling[:, 3:])
    assert late.latency_frames == 3
    assert late.partition_name == "K4N1c1s1, 3 frames later"


def test_extra_latency_is_not_negative() -> None:
    with pytest.raises(PartitionError, match="before a prompt arrives"):
        WorldCandidate(make_tiny_world(), extra_latency=-1)


def test_streams_are_rolled_out_in_parts_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = WorldCandidate(make_tiny_world(), "K4N4c1s1")  # in which noise shows
    first = random_frames(3, 1)
    prompts = [[SPEC.menu[i + j][0] for i in range(4)] for j in range(3)]
    together = candidate.roll_out(first, prompts, seed=5)
    monkeypatch.setattr("streamdit_gym.evaluate.candidate.CPU_BATCH", 2)
    apart = candidate.roll_out(first, prompts, seed=5)
    assert np.abs(apart.frames.astype(int) - together.frames).max() <= 1
    np.testing.assert_allclose(apart.scores, together.scores, atol=1e-5)
    other_noise = candidate.roll_out(first, prompts, seed=6)
    assert np.abs(other_noise.scores - together.scores).max() > 1e-3


def test_a_teacher_is_as_late_as_its_student() -> None:
    world = make_tiny_world()
    student = WorldCandidate(world, "K4N4c1s1", extra_latency=1)
    assert teacher_of(student, world).latency_frames == 4
    assert teacher_of(student, world, "K4N2c1s1").extra_latency == 3


def test_a_teacher_is_never_later_than_its_student() -> None:
    world = make_tiny_world()
    with pytest.raises(PartitionError, match=r"(?s)later than its student.*extra_latency=3"):
        teacher_of(WorldCandidate(world), world, "K4N4c1s1")


def test_a_teacher_is_of_the_same_world() -> None:
    world = make_tiny_world()
    with pytest.raises(StreamDiTError, match="no teacher of this world"):
        teacher_of(WorldCandidate(world), replace(world, spec=replace(SPEC, name="another")))


def test_context_frames_are_not_generated_again() -> None:
    candidate = WorldCandidate(make_tiny_world())
    prompts = [[SPEC.menu[i][0] for i in range(4)] + [SPEC.menu[5][0]] * 2] * 2
    rollout = candidate.roll_out(random_frames(2, 5), prompts)
    assert rollout.frames.shape == (2, 2, 64, 64, 3)
    assert rollout.scores.shape == (2, 2, 4)


def test_unseen_phrases_stand_for_their_actions() -> None:
    shard = record_shard(
        replace(WORLD, starts={"uniform": 1.0}), RecordConfig(episodes=1, steps=12, seed=6), 0
    )
    (prompts,) = sampled_prompts(UNSEEN_PHRASES, shard.actions)
    assert [ACTION_OF[phrase] for phrase in prompts] == shard.actions[0].tolist()
    assert not set(prompts) & {phrase for phrases in SPEC.menu for phrase in phrases}


def test_objects_are_counted() -> None:
    shard = record_shard(
        replace(WORLD, starts={"near_goal": 1.0}), RecordConfig(episodes=3, steps=20, seed=5), 0
    )
    frames = shard.frames.reshape(-1, 64, 64, 3)
    found = object_integrity(frames)
    assert (found["pusher"] == 1).mean() > 0.98
    assert (found["T"] == 1).mean() > 0.98
    lump = np.full((1, 64, 64, 3), 255, np.uint8)
    lump[0, -5:, -6:] = (119, 136, 153)
    assert object_integrity(lump)["T"].tolist() == [0.0], "what is left of a T in a corner is no T"
    gone = frames.copy()
    gone[(np.abs(frames.astype(int) - [65, 105, 225]).max(-1) < 90)] = 255
    assert (object_integrity(gone)["pusher"] == 0).all()
    twice = np.minimum(frames, frames[:, ::-1])
    assert object_integrity(twice)["pusher"].mean() < 0.2
    import cv2

    melted = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames])
    assert object_integrity(melted)["T"].mean() < 0.2
