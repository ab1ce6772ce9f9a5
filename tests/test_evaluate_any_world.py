"""The evaluation of worlds of which it knows nothing: menus, boxes, recordings alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.dots import (
    BOX,
    ActionRewards,
    CoarseControl,
    CostlyDots,
    DeafDots,
    DotSimulator,
    EndlessEnds,
    FrozenDots,
    PerfectDots,
    ShuffledRewards,
    box_spec,
    box_world,
    costly_world,
    menu_spec,
    menu_world,
)
from support.pushed_dot import DEFINITION, make_dot_world

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record, record_shard
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.evaluate.candidate import WorldCandidate
from streamdit_gym.evaluate.evaluation import (
    EvaluationConfig,
    Evidence,
    collect_evidence,
    evaluate_world,
)
from streamdit_gym.evaluate.evaluator_models import EvaluatorTraining
from streamdit_gym.evaluate.html_report import html_report
from streamdit_gym.evaluate.metrics.reward_residuals import reward_residual_r
from streamdit_gym.evaluate.real_episodes import RecordedEpisodes, SimulatedEpisodes, cut
from streamdit_gym.evaluate.real_futures import FuturesPlan
from streamdit_gym.evaluate.report import text_report
from streamdit_gym.evaluate.schema import Scores
from streamdit_gym.evaluate.state_errors import state_layout

CONFIG = EvaluationConfig(
    episodes=16,
    horizons=(1, 4, 16),
    evaluator_training=EvaluatorTraining(
        episodes=36, episode_steps=24, probe_steps=100, inverse_steps=300
    ),
    drift_frames=60,
    drift_streams=4,
    short_episodes=4,
    futures=FuturesPlan(starts=4, futures=2, frames=8),
)


@pytest.fixture(scope="module")
def menu_evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("menu")
    return collect_evidence(menu_spec(), menu_world(), CONFIG, folder)


@pytest.fixture(scope="module")
def box_evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("box")
    return collect_evidence(box_spec(), box_world(), CONFIG, folder)


def menu_scores(world: type[PerfectDots], evidence: Evidence) -> Scores:
    return evaluate_world(world(menu_spec()), menu_world(), evidence, CONFIG)


def box_scores(world: type[PerfectDots], evidence: Evidence) -> Scores:
    return evaluate_world(world(box_spec()), box_world(), evidence, CONFIG)


@pytest.fixture(scope="module")
def perfect_menu(menu_evidence: Evidence) -> Scores:
    return menu_scores(PerfectDots, menu_evidence)


@pytest.fixture(scope="module")
def deaf_menu(menu_evidence: Evidence) -> Scores:
    return menu_scores(DeafDots, menu_evidence)


@pytest.fixture(scope="module")
def perfect_box(box_evidence: Evidence) -> Scores:
    return box_scores(PerfectDots, box_evidence)


def failed(scores: Scores) -> list[str]:
    return [result.metric for result in scores.criteria if result.passed is False]


def passed(scores: Scores) -> set[str]:
    return {result.metric for result in scores.criteria if result.passed}


def test_a_perfect_world_of_a_menu_passes_all_that_is_asked(perfect_menu: Scores) -> None:
    assert perfect_menu.failure_modes == ()
    assert failed(perfect_menu) == []
    expected = {
        "fidelity.16.frame_psnr_db",
        "fidelity.16.numbers.x_px",
        "action.action_fidelity",
        "ablation.error_removed",
        "drift.sharpness.generated_over_real",
        "outcome.real_reward_r",
        "outcome.generated_false_ends",
    }
    assert expected <= passed(perfect_menu)


def test_a_perfect_world_of_a_box_passes_all_that_is_asked(perfect_box: Scores) -> None:
    assert perfect_box.failure_modes == ()
    assert failed(perfect_box) == []
    expected = {
        "action.dimension_fidelity.across.pos",
        "sweep.dimensions.down.pos.error",
        "sweep.dimensions.down.pos.backward",
        "ablation.error_removed",
    }
    assert expected <= passed(perfect_box)


def test_the_evaluator_reads_a_box(perfect_box: Scores) -> None:
    for name in BOX.names:
        assert perfect_box.action.real_dimension_r[name].value > 0.8, "at the walls nobody can"
    assert perfect_box.action.inverse_dynamics_accuracy is None


def test_what_a_world_does_not_name_is_not_measured(perfect_menu: Scores) -> None:
    assert perfect_menu.evaluator.state_error is None
    assert perfect_menu.reaction is None
    assert perfect_menu.text is None
    assert perfect_menu.sweep is None
    assert perfect_menu.readout is None


def test_reports_say_what_was_not_measured(perfect_menu: Scores, perfect_box: Scores) -> None:
    assert "this world names no actor" in text_report(perfect_menu)
    assert "this world names no objects" in html_report(perfect_menu)
    assert "sweep of across.pos" in text_report(perfect_box)
    assert html_report(perfect_box).count("data:image/png;base64,") == 4, "one is the sweep"


def test_scores_of_any_world_are_read_back(perfect_box: Scores) -> None:
    read = Scores.from_dict(perfect_box.to_dict())
    assert read.sweep == perfect_box.sweep
    assert read.criteria == perfect_box.criteria


def test_where_no_simulator_starts_anywhere_streams_are_held_against_recordings(
    perfect_menu: Scores, perfect_box: Scores
) -> None:
    assert perfect_menu.drift.replayed
    assert not perfect_box.drift.replayed


@pytest.mark.parametrize(
    ("world", "failure"),
    [
        (FrozenDots, "frozen"),
        (ShuffledRewards, "misreads rewards"),
        (EndlessEnds, "ends episodes that go on"),
    ],
)
def test_a_failing_world_of_a_menu_is_called_by_its_failure_mode(
    world: type[PerfectDots], failure: str, menu_evidence: Evidence
) -> None:
    scores = menu_scores(world, menu_evidence)
    assert any(mode.startswith(failure) for mode in scores.failure_modes), scores.failure_modes


@pytest.mark.parametrize(
    ("world", "failure"), [(DeafDots, "ignores actions"), (FrozenDots, "frozen")]
)
def test_a_failing_world_of_a_box_is_called_by_its_failure_mode(
    world: type[PerfectDots], failure: str, box_evidence: Evidence
) -> None:
    scores = box_scores(world, box_evidence)
    assert any(mode.startswith(failure) for mode in scores.failure_modes), scores.failure_modes


def test_a_deaf_world_of_a_menu_ignores_actions(deaf_menu: Scores) -> None:
    assert any(mode.startswith("ignores actions") for mode in deaf_menu.failure_modes)


def test_a_deaf_world_fails_every_criterion_of_its_actions(deaf_menu: Scores) -> None:
    metrics = failed(deaf_menu)
    assert {"action.action_fidelity", "ablation.error_removed"} <= set(metrics)
    assert "fidelity.16.numbers.x_px" in metrics


def test_a_world_that_knows_three_values_of_a_dimension_fails_the_sweep(
    box_evidence: Evidence,
) -> None:
    metrics = failed(box_scores(CoarseControl, box_evidence))
    assert "sweep.dimensions.across.pos.error" in metrics


def costly_scores(world: type[PerfectDots], evidence: Evidence) -> Scores:
    held_out, _ = SimulatedEpisodes(reference=costly_world()).held_out(CONFIG.plan)
    costly = replace(evidence, held_out=held_out)
    return evaluate_world(world(box_spec()), costly_world(), costly, CONFIG)


def test_rewards_of_a_perfect_world_are_right_beyond_the_cost_of_actions(
    box_evidence: Evidence,
) -> None:
    scores = costly_scores(CostlyDots, box_evidence)
    assert scores.failure_modes == ()
    expected = {"outcome.real_reward_residual_r", "outcome.generated_reward_residual_r"}
    assert expected <= passed(scores)


def test_a_world_that_reads_rewards_off_actions_alone_fails(
    box_evidence: Evidence,
) -> None:
    scores = costly_scores(ActionRewards, box_evidence)
    expected = {"outcome.real_reward_residual_r", "outcome.generated_reward_residual_r"}
    assert set(failed(scores)) == expected
    assert "outcome.generated_reward_r" in passed(scores), "the cost is most of the reward"
    assert any(mode.startswith("misreads rewards beyond") for mode in scores.failure_modes)
    assert "reward residual r" in text_report(scores)
    assert "reward residual r" in html_report(scores)


def test_rewards_that_actions_explain_have_no_residual() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 8, 2))
    rewards = -(actions**2).sum(-1)
    is_step = np.ones((4, 8), bool)
    assert reward_residual_r(rewards, rewards, is_step, actions, BOX) is None


def test_episodes_that_end_early_count_up_to_their_end(
    menu_evidence: Evidence, perfect_menu: Scores
) -> None:
    lengths = menu_evidence.held_out.lengths
    assert menu_evidence.held_out.terminated.any()
    assert lengths.min() < menu_evidence.held_out.actions.shape[1]
    (last,) = [row for row in perfect_menu.fidelity if row.horizon == 16]
    assert last.frame_psnr_db is not None
    assert last.frame_psnr_db.count == (lengths >= 16).sum()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, WorldDefinition]:
    """Recordings without states, and a definition without a simulator."""
    folder = tmp_path_factory.mktemp("recordings")
    spec = menu_spec(state_names=())

    class BlindDot(DotSimulator):
        state = None

    definition = WorldDefinition.of(spec, make_simulator=BlindDot)
    record(definition, folder, RecordConfig(shards=4, episodes=12, steps=24))
    return Dataset(folder), replace(definition, make_simulator=None)


def test_a_world_is_evaluated_on_held_out_recordings_alone(
    recorded: tuple[Dataset, WorldDefinition], tmp_path: Path
) -> None:
    dataset, definition = recorded
    spec = definition.spec
    evidence = collect_evidence(spec, definition, CONFIG, tmp_path, dataset)
    perfect = evaluate_world(PerfectDots(spec), definition, evidence, CONFIG)
    assert perfect.failure_modes == ()
    assert failed(perfect) == []
    assert not perfect.simulated
    assert "this world names no numbers of a state" in text_report(perfect)
    deaf = evaluate_world(DeafDots(spec), definition, evidence, CONFIG)
    assert deaf.failure_modes[0].startswith("ignores actions")


def test_without_simulator_and_recordings_there_is_nothing_to_evaluate_against(
    recorded: tuple[Dataset, WorldDefinition], tmp_path: Path
) -> None:
    _, definition = recorded
    with pytest.raises(StreamDiTError, match="nothing to evaluate this world against"):
        collect_evidence(definition.spec, definition, CONFIG, tmp_path)


def test_evaluator_models_never_see_held_out_recordings(
    recorded: tuple[Dataset, WorldDefinition],
) -> None:
    dataset, _ = recorded
    source = RecordedEpisodes(dataset=dataset)
    held_out, _ = source.held_out(CONFIG.plan)
    assert np.array_equal(held_out.frames[:12, 0], dataset.shard(3).frames[:, 0])
    training = source.training(999, 24, 0)
    assert len(training.frames) == 36
    seen = {frame.tobytes() for frame in training.frames[:, 0]}
    assert not any(frame.tobytes() in seen for frame in held_out.frames[:, 0])


def test_long_episodes_are_cut_into_pieces() -> None:
    shard = record_shard(menu_world(), RecordConfig(episodes=6, steps=24), 0)
    pieces = cut(shard, 8, 99)
    assert pieces.frames.shape[1] == 9
    assert np.array_equal(pieces.frames[:6, 0], shard.frames[:, 0])
    long = int(shard.lengths.argmax())
    row = next(
        i for i in range(6, 12) if np.array_equal(pieces.frames[i, 0], shard.frames[long, 8])
    )
    assert np.array_equal(pieces.actions[row], shard.actions[long, 8:16])
    assert (pieces.lengths >= 1).all()
    assert len(cut(shard, 8, 3).frames) == 3


def test_angles_are_found_by_the_names_of_a_state() -> None:
    layout = state_layout(["elbow_cos", "elbow_sin", "wrist_rad", "x_px", "cosmos"])
    assert layout.angles == {"elbow": (0, 1), "wrist": (2,)}
    assert layout.numbers == {"x_px": 3, "cosmos": 4}


def test_a_trained_world_of_a_box_is_evaluated_through_its_own_readouts(tmp_path: Path) -> None:
    config = replace(
        CONFIG,
        episodes=4,
        horizons=(1, 4),
        evaluator_training=EvaluatorTraining(
            episodes=2, episode_steps=8, probe_steps=2, inverse_steps=2
        ),
        drift_frames=12,
        drift_streams=2,
    )
    world = make_dot_world()
    evidence = collect_evidence(world.spec, DEFINITION, config, tmp_path)
    scores = evaluate_world(WorldCandidate(world), DEFINITION, evidence, config)
    assert set(scores.action.dimension_r) == {"x", "y"}
    assert scores.outcome is not None
    assert scores.outcome.generated_false_ends.value == 0, "in this world nothing ever ends"
    assert scores.readout is not None
    assert scores.failure_modes, "random weights"
