"""The judge: its arithmetic against slow twins, and worlds that are wrong in known ways,
called by their names.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import make_tiny_world

from streamdit_gym.data.recorder import RecordConfig, record_shard
from streamdit_gym.definition import ReferenceSimulator, WorldSpec
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.envs.pusht.object_integrity import object_integrity
from streamdit_gym.envs.pusht.phrases import UNSEEN_PHRASES
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.envs.worlds import reference_simulator
from streamdit_gym.errors import PartitionError, StreamDiTError
from streamdit_gym.evaluate import report
from streamdit_gym.evaluate.candidate import (
    Frames,
    Rollout,
    Said,
    WorldCandidate,
    prompts_of,
    teacher_of,
)
from streamdit_gym.evaluate.comparison import beside
from streamdit_gym.evaluate.evaluator_models import (
    FULL_TRAINING,
    SHIPPED_FOLDER,
    EvaluatorModels,
    EvaluatorTraining,
    evaluator_models,
    file_name,
    save_evaluator_models,
)
from streamdit_gym.evaluate.judge import EvaluationConfig, Evidence, gather, judge
from streamdit_gym.evaluate.measures import (
    _looks_of,
    _moved,
    _other_actions,
    _ssim,
    fidelity,
    policies,
    reaction,
)
from streamdit_gym.evaluate.state_probe import StateProbe
from streamdit_gym.evaluate.statistics import (
    correlation,
    estimate,
    mean,
    median,
    psnr,
    ratio,
    share,
)

SMALL = EvaluationConfig(
    episodes=6,
    horizons=(1, 4, 16),
    evaluator_training=EvaluatorTraining(
        episodes=144, episode_steps=16, probe_steps=160, inverse_steps=400
    ),
    drift_frames=80,
    drift_streams=4,
    short_episodes=24,
)
ACTION_OF = {
    phrase: a for a in range(len(SPEC.menu)) for phrase in (*SPEC.menu[a], *UNSEEN_PHRASES[a])
}


class Remembered(PushTSimulator):
    """The simulator, remembering how to come back to every frame it ever showed."""

    memory: ClassVar[dict[bytes, tuple[Any, np.ndarray]]] = {}

    def _picture(self, large: np.ndarray) -> np.ndarray:
        frame = super()._picture(large)
        self.memory[frame.tobytes()] = (self.save(), self.scores())
        return frame


class Replayed:
    """A perfect world: the twin itself. Its subclasses are wrong in one way each."""

    spec: WorldSpec = SPEC
    partition_name = "replayed"
    latency_frames = 0

    def action(self, row: int, step: int, said: str) -> int:
        return ACTION_OF[said]

    def show(self, frames: np.ndarray) -> np.ndarray:
        return frames

    def roll_out(self, context: Frames, said: Said, seed: int = 0) -> Rollout:
        simulator, known = PushTSimulator(), context.shape[1] - 1
        frames, scores = [], []
        for row, line in enumerate(said):
            simulator.restore(Remembered.memory[context[row, -1].tobytes()][0])
            made = [
                (simulator.step(self.action(row, i, word)), simulator.scores())
                for i, word in enumerate(line[known:])
            ]
            frames.append(self.show(np.stack([pair[0] for pair in made])))
            scores.append(np.stack([pair[1] for pair in made]))
        simulator.close()
        return Rollout(frames=np.stack(frames), scores=np.stack(scores))

    def reconstruct(self, frames: Frames) -> Frames:
        return frames

    def read(self, frames: Frames) -> np.ndarray:
        return np.stack(
            [np.stack([Remembered.memory[frame.tobytes()][1] for frame in row]) for row in frames]
        )


class Deaf(Replayed):
    def action(self, row: int, step: int, said: str) -> int:
        return (row + step // 6) % 9


class Fading(Replayed):
    def show(self, frames: np.ndarray) -> np.ndarray:
        left = np.clip(1 - np.arange(1, len(frames) + 1) / 80, 0, 1)[:, None, None, None]
        return (255 - left * (255.0 - frames)).round().astype(np.uint8)


class Frozen(Replayed):
    def roll_out(self, context: Frames, said: Said, seed: int = 0) -> Rollout:
        steps = len(said[0]) - context.shape[1] + 1
        return Rollout(
            frames=context[:, -1:].repeat(steps, 1),
            scores=self.read(context[:, -1:]).repeat(steps, 1),
        )


@pytest.fixture(scope="module")
def twin() -> ReferenceSimulator:
    return replace(reference_simulator("PushT"), make=Remembered)


@pytest.fixture(scope="module")
def evidence(twin: ReferenceSimulator) -> Evidence:
    return gather(SPEC, twin, SMALL)


@pytest.fixture(scope="module")
def perfect(twin: ReferenceSimulator, evidence: Evidence) -> dict[str, Any]:
    return judge(
        Replayed(), twin, evidence, SMALL, {"a": (0.0, 0.1), "b": (1.0, 0.9), "c": (2.0, 2.2)}
    )


def test_a_perfect_world_has_no_faults_and_keeps_its_promises(perfect: dict[str, Any]) -> None:
    scores = perfect
    assert scores["faults"] == []
    first = scores["fidelity"][0]
    assert first["generated_db"].value > 60
    assert first["generated_ssim"].value == pytest.approx(1)
    assert scores["motion"].value == pytest.approx(1)
    assert scores["drift"]["sharpness_beside_the_twin"].value == pytest.approx(1, abs=0.02)
    assert scores["obedience"]["readback_share"].value == pytest.approx(1)
    assert (
        scores["obedience"]["shuffled_over_true"].value
        != scores["obedience"]["shuffled_over_true"].value
    )  # the true error is zero
    assert scores["reaction"]["generated_curve"] == pytest.approx(
        scores["reaction"]["real_curve"], abs=0.7
    )
    # frames that look the same to the last grey level may hide a hair's breadth of motion
    assert scores["reward"]["reach_step_r_real"].value == pytest.approx(1, abs=1e-3)
    missed = {p.about for p in scores["promises"] if p.kept is False}
    assert not {
        about
        for about in missed
        if "place" not in about and "angle" not in about and "within 1 px" not in about
    }, missed
    assert scores["policies"]["pearson_r"].value > 0.9
    assert [p.kept for p in scores["promises"] if p.about.startswith("policy")] == [None], (
        "three players are too few"
    )
    text, page = report.text(scores), report.page(scores)
    assert "no fault found" in text
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page.replace("http-equiv", "")
    assert json.loads(json.dumps(report.plain(scores)))["fidelity"][0]["horizon"] == 1


def test_a_student_is_set_beside_its_teacher(
    twin: ReferenceSimulator, evidence: Evidence, perfect: dict[str, Any]
) -> None:
    same = beside(perfect, perfect)
    assert {row.share.value for row in same if row.kept is not None} == {1.0}
    assert all(row.kept for row in same if row.kept is not None)
    few = {
        **perfect,
        "fidelity": [
            {**row, "actor_px": estimate(np.array([[1.0], *[[np.nan]] * 5]), median)}
            for row in perfect["fidelity"]
        ],
    }
    assert beside(few, perfect)[2].kept is None, "one episode tells nothing"
    wild = {
        **perfect,
        "motion": estimate(np.stack([[0.5, 0.5, 0.5, 2.0, 2.0, 3.0], np.ones(6)], -1), ratio),
    }
    motion = next(row for row in beside(wild, perfect) if row.about.startswith("motion"))
    assert (motion.kept, motion.clear) == (False, False), (
        "an interval from below to above says neither"
    )
    deaf = judge(Deaf(), twin, evidence, SMALL)
    worse = {row.about: row for row in beside(deaf, perfect)}
    assert len(worse) == len(same)
    assert (worse["action read-back"].kept, worse["action read-back"].clear) == (False, True)
    assert worse["actor's place after 16 frames"].share.low > 2
    assert not [row.about for row in beside(perfect, deaf) if row.kept is False and row.clear], (
        "nobody blames a student for being better"
    )
    scores = {**deaf, "beside": {"teacher": "the twin", "shares": list(worse.values())}}
    for shown in (report.text(scores), report.page(scores)):
        assert "beside its teacher (the twin)" in shown
        assert "worse" in shown
    written = json.loads(json.dumps(report.plain(scores)))["beside"]["shares"]
    assert set(written[0]["share"]) == {"value", "low", "high", "count"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [(Frozen, "frozen"), (Deaf, "ignores actions"), (Fading, "drifts")],
    ids=["frozen", "deaf", "fading"],
)
def test_a_wrong_world_is_called_by_its_name(
    wrong: type[Replayed], named: str, twin: ReferenceSimulator, evidence: Evidence
) -> None:
    scores = judge(wrong(), twin, evidence, SMALL)
    assert any(fault.startswith(named) for fault in scores["faults"]), scores["faults"]
    others = {"frozen", "drifts"} - {named}
    assert not any(fault.startswith(tuple(others)) for fault in scores["faults"]), scores["faults"]
    assert "FAULT" in report.text(scores)


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
    trainer = _Trainer(evidence.eyes)
    module = "streamdit_gym.evaluate.evaluator_models"
    monkeypatch.setattr(f"{module}.train_evaluator_models", trainer)
    monkeypatch.setattr(f"{module}.SHIPPED_FOLDER", tmp_path / "nothing shipped")
    return trainer


def test_evaluator_models_are_trained_once_for_each_version_and_size(
    trainer: _Trainer, twin: ReferenceSimulator, tmp_path: Path
) -> None:
    size = SMALL.evaluator_training
    evaluator_models(SPEC, twin, size, tmp_path)
    loaded = evaluator_models(SPEC, twin, size, tmp_path)
    assert trainer.calls == 1
    frames = np.random.default_rng(0).integers(0, 255, (2, 5, 64, 64, 3), dtype=np.uint8)
    assert (loaded.probe.read(frames)[0] == trainer.models.probe.read(frames)[0]).all()
    actions = np.zeros((2, 4), int)
    expected = trainer.models.actions_match(frames, actions)
    assert (loaded.actions_match(frames, actions) == expected).all()
    evaluator_models(SPEC, twin, replace(size, probe_steps=161), tmp_path)
    assert trainer.calls == 2, "another size"
    evaluator_models(SPEC, replace(twin, evaluator_version=2), size, tmp_path)
    assert trainer.calls == 3, "another version"


def test_damaged_evaluator_models_are_trained_anew(
    trainer: _Trainer, twin: ReferenceSimulator, tmp_path: Path
) -> None:
    size = SMALL.evaluator_training
    (tmp_path / file_name("PushT", 1, size)).write_bytes(b"cut")
    evaluator_models(SPEC, twin, size, tmp_path)
    assert trainer.calls == 1


def test_evaluator_models_that_err_on_real_frames_are_trained_anew(
    trainer: _Trainer, twin: ReferenceSimulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = SMALL.evaluator_training
    path = tmp_path / file_name("PushT", 1, size)
    weak = replace(trainer.models, probe=StateProbe(SPEC).eval())
    save_evaluator_models(weak, path)
    evaluator_models(SPEC, twin, size, tmp_path)
    assert trainer.calls == 1
    assert "the probe misses the actor" in capsys.readouterr().out
    evaluator_models(SPEC, twin, size, tmp_path)
    assert trainer.calls == 1, "the new ones have replaced the weak ones"


def test_fully_trained_evaluator_models_serve_every_size(
    trainer: _Trainer, twin: ReferenceSimulator, tmp_path: Path
) -> None:
    save_evaluator_models(trainer.models, tmp_path / "PushT-v1.safetensors")
    evaluator_models(SPEC, twin, SMALL.evaluator_training, tmp_path)
    assert trainer.calls == 0


def test_only_fully_trained_evaluator_models_have_the_short_name() -> None:
    assert file_name("PushT", 1, FULL_TRAINING) == "PushT-v1.safetensors"
    small = file_name("PushT", 1, replace(FULL_TRAINING, episodes=80))
    assert small == "PushT-v1-80x256-probe5000-inverse4000-seed20000.safetensors"


def test_the_shipped_evaluator_models_read_real_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = reference_simulator("PushT")
    shipped = file_name("PushT", reference.evaluator_version, FULL_TRAINING)
    assert (SHIPPED_FOLDER / shipped).is_file()
    monkeypatch.setattr("streamdit_gym.evaluate.evaluator_models.train_evaluator_models", None)
    models = evaluator_models(SPEC, reference, SMALL.evaluator_training, tmp_path)
    shard = record_shard(
        SPEC, PushTSimulator, {"anywhere": 1.0}, RecordConfig(episodes=8, steps=16, seed=77), 0
    )
    errors = models.state_errors(shard.frames, shard.states, reference, SPEC)
    assert np.median(errors.actor_px) < 0.4
    assert np.median(errors.body_px) < 0.4
    assert np.median(errors.body_degrees) < 2
    assert models.actions_match(shard.frames, shard.actions).mean() > 0.8


def test_where_a_body_has_moved_copying_is_worse_than_the_truth(
    twin: ReferenceSimulator, evidence: Evidence
) -> None:
    frames = evidence.held_out.frames
    for made, near in ((frames, True), (frames[:, :1].repeat(frames.shape[1], 1), False)):
        row = fidelity(Replayed(), evidence.held_out, made, evidence.eyes, twin, (16,))[0]
        moved, copied = (row[f"{name}body_px"] for name in ("moved_", "moved_copy_"))
        assert (moved.value < copied.value) == near
    states = np.zeros((3, 6), np.float32)
    states[:, 4] = 1
    after = states.copy()
    after[1, 2], after[2, 4:] = 1.5, (np.cos(0.2), np.sin(0.2))
    assert _moved(states, after, twin, SPEC).tolist() == [False, True, True]


def test_frames_begun_before_a_prompt_count_as_time_until_it_is_obeyed(
    twin: ReferenceSimulator, evidence: Evidence
) -> None:
    class Late(Replayed):
        latency_frames = 3

    at_once, late = (
        reaction(candidate, evidence.held_out, evidence.eyes, twin)
        for candidate in (Replayed(), Late())
    )
    assert late["generated_frames_to_50"] == at_once["generated_frames_to_50"] + 3
    assert late["generated_curve"] == [0.0] * 3 + at_once["generated_curve"]
    assert late["real_curve"] == at_once["real_curve"]


def test_a_judge_that_sees_badly_says_so(twin: ReferenceSimulator, evidence: Evidence) -> None:
    blind = gather(
        SPEC,
        twin,
        replace(
            SMALL,
            episodes=2,
            evaluator_training=EvaluatorTraining(
                episodes=2, episode_steps=16, probe_steps=2, inverse_steps=2
            ),
        ),
    )
    scores = judge(Replayed(), twin, replace(evidence, eyes=blind.eyes), SMALL)
    assert any("judge itself is weak" in fault for fault in scores["faults"])


def test_a_trained_world_is_judged_through_its_own_codec_and_heads(
    twin: ReferenceSimulator, evidence: Evidence
) -> None:
    world = make_tiny_world()
    unseen = tuple((phrases[1],) for phrases in SPEC.menu)  # the tiny world has no encoder
    scores = judge(
        WorldCandidate(world, "K4N1c1s1"),
        replace(twin, unseen=unseen),
        evidence,
        replace(SMALL, drift_frames=20),
    )
    assert scores["faults"], "random weights"
    with pytest.raises(PartitionError, match="action by action"):
        WorldCandidate(world, "K4N2c2s1")


@pytest.mark.parametrize(
    ("partition", "late"),
    [("K4N1c1s1", 0), ("K4N1c1s2", 0), ("K4N4c1s1", 0), ("K4N1c1s1", 3), ("K4N2c1s1", 2)],
)
def test_a_candidates_frames_match_its_sayings(partition: str, late: int) -> None:
    """With a buffer of N the frames come N - 1 later; the judge sees them where they belong."""
    candidate = WorldCandidate(make_tiny_world(), partition, late)
    first = np.random.default_rng(0).integers(0, 255, (1, 1, 64, 64, 3), dtype=np.uint8)
    said = [[SPEC.menu[i % 9][0] for i in range(6)]]
    other = [[*said[0][:3], SPEC.menu[8][0], *said[0][4:]]]
    one, two = (candidate.roll_out(first, lines).frames[0].astype(int) for lines in (said, other))
    assert one.shape == (6, 64, 64, 3)
    changed = np.abs(one - two).max((1, 2, 3)) > 0
    assert not changed[:3].any()
    assert changed[3]


def test_a_late_candidate_rests_before_it_obeys() -> None:
    world = make_tiny_world()
    first = np.random.default_rng(0).integers(0, 255, (1, 1, 64, 64, 3), dtype=np.uint8)
    said = [[SPEC.menu[i][0] for i in range(1, 5)]]
    rested = [[SPEC.menu[0][0]] * 3 + said[0]]
    late, plain = WorldCandidate(world, late=3), WorldCandidate(world)
    assert np.array_equal(
        late.roll_out(first, said).frames, plain.roll_out(first, rested).frames[:, 3:]
    )
    assert (late.latency_frames, late.partition_name) == (3, "K4N1c1s1, 3 frames late")
    with pytest.raises(PartitionError, match="before it is told"):
        WorldCandidate(world, late=-1)


def test_streams_are_rolled_out_in_parts_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = WorldCandidate(make_tiny_world(), "K4N4c1s1")  # in which noise shows
    first = np.random.default_rng(0).integers(0, 255, (3, 1, 64, 64, 3), dtype=np.uint8)
    said = [[SPEC.menu[i + j][0] for i in range(4)] for j in range(3)]
    together = candidate.roll_out(first, said, seed=5)
    monkeypatch.setattr("streamdit_gym.evaluate.candidate.ROWS", 2)
    apart = candidate.roll_out(first, said, seed=5)
    assert np.abs(apart.frames.astype(int) - together.frames).max() <= 1
    np.testing.assert_allclose(apart.scores, together.scores, atol=1e-5)
    others = np.abs(candidate.roll_out(first, said, seed=6).scores - together.scores).max()
    assert others > 1e-3, "whose noise it is can be told"


def test_a_teacher_is_as_late_as_its_student() -> None:
    world = make_tiny_world()
    student = WorldCandidate(world, "K4N4c1s1", late=1)
    assert (
        teacher_of(student, world).latency_frames,
        teacher_of(student, world, "K4N2c1s1").late,
    ) == (4, 3)
    with pytest.raises(PartitionError, match=r"(?s)later than its student.*--late 3"):
        teacher_of(WorldCandidate(world), world, "K4N4c1s1")
    with pytest.raises(StreamDiTError, match="no teacher of this world"):
        teacher_of(student, replace(world, spec=replace(SPEC, name="another")))


def test_context_frames_are_not_made_again() -> None:
    candidate = WorldCandidate(make_tiny_world())
    context = np.random.default_rng(0).integers(0, 255, (2, 5, 64, 64, 3), dtype=np.uint8)
    said = [[SPEC.menu[i][0] for i in range(4)] + [SPEC.menu[5][0]] * 2] * 2
    made = candidate.roll_out(context, said)
    assert made.frames.shape == (2, 2, 64, 64, 3)
    assert made.scores.shape == (2, 2, 4)


def test_objects_are_counted() -> None:
    shard = record_shard(
        SPEC, PushTSimulator, {"near_goal": 1.0}, RecordConfig(episodes=3, steps=20, seed=5), 0
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


def test_the_bootstrap_interval_is_that_of_a_mean() -> None:
    samples = np.random.default_rng(0).normal(3, 2, 400)
    found = estimate(samples, draws=2000)
    assert found.value == pytest.approx(samples.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * samples.std() / 20, rel=0.1)
    assert found.agrees(estimate(samples[::2]))
    assert not found.agrees(estimate(samples + 5))


def test_a_share_of_the_same_samples_is_known_better_than_either() -> None:
    rng = np.random.default_rng(0)
    hard = rng.gamma(2, size=200)
    one, other = (estimate(hard * rng.normal(scale, 0.02, 200), median) for scale in (1.1, 1.0))
    found = share(one, other)
    assert found.value == one.value / other.value
    rng, drawn = np.random.default_rng(0), []
    for _ in range(500):
        rows = rng.integers(200, size=200)
        drawn.append(np.median(one.samples[rows]) / np.median(other.samples[rows]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    alone = (one.high - one.low) / one.value
    assert found.high - found.low < 0.5 * alone
    nothing = estimate(np.zeros(9))
    assert share(nothing, nothing).value == 1
    assert np.isnan(share(estimate(np.ones(9)), nothing).value)


def test_statistics_equal_their_definitions() -> None:
    rng = np.random.default_rng(1)
    pairs = rng.normal(size=(30, 4, 2))
    assert correlation(pairs) == pytest.approx(
        np.corrcoef(pairs[..., 0].ravel(), pairs[..., 1].ravel())[0, 1]
    )
    assert np.isnan(correlation(np.zeros((5, 2))))
    assert ratio(np.array([[1, 2], [3, 2]])) == 1
    assert psnr(np.array([[10.0, 2], [30.0, 2]])) == pytest.approx(10 * np.log10(255**2 / 10))
    assert mean(np.array([1, np.nan, 3])) == 2
    assert median(np.array([1, np.nan, 3, 9])) == 3
    assert np.isnan(mean(np.array([np.nan])))


def test_ssim_equals_its_slow_twin() -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.integers(0, 255, (1, 1, 10, 9, 3), dtype=np.uint8) for _ in range(2))
    x, y = a[0, 0].mean(-1), b[0, 0].mean(-1)
    values = []
    for i in range(4):
        for j in range(3):
            p, q = x[i : i + 7, j : j + 7], y[i : i + 7, j : j + 7]
            vxy = ((p - p.mean()) * (q - q.mean())).mean()
            c1, c2 = 2.55**2, 7.65**2
            values.append(
                (2 * p.mean() * q.mean() + c1)
                * (2 * vxy + c2)
                / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (p.var() + q.var() + c2))
            )
    assert _ssim(a, b)[0, 0] == pytest.approx(np.mean(values), rel=1e-3)
    assert _ssim(a, a)[0, 0] == pytest.approx(1)


def test_sharpness_falls_with_blur() -> None:
    import cv2

    frame = np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    sharp, soft = _looks_of(np.stack([frame, cv2.GaussianBlur(frame, (0, 0), 1)]))[:, 0]
    assert soft < 0.5 * sharp


def test_other_actions_are_others() -> None:
    actions = np.arange(9).repeat(50)
    others = _other_actions(actions, 9, np.random.default_rng(0))
    assert (others != actions).all()
    assert set(others) == set(range(9))


def test_unseen_phrases_are_said_for_their_actions() -> None:
    shard = record_shard(
        SPEC, PushTSimulator, {"uniform": 1.0}, RecordConfig(episodes=1, steps=12, seed=6), 0
    )
    lines = prompts_of(SPEC, shard, UNSEEN_PHRASES)
    assert [ACTION_OF[phrase] for phrase in lines[0]] == shard.actions[0].tolist()
    assert not set(lines[0]) & {phrase for phrases in SPEC.menu for phrase in phrases}


def test_players_are_correlated() -> None:
    scores = policies({"a": (1.0, 10.0), "b": (2.0, 20.0), "c": (3.0, 25.0)})
    assert scores["rank_r"].value == pytest.approx(1)
    assert 0.9 < scores["pearson_r"].value < 1
