"""Scores: their schema, recorded files, acceptance criteria, failure modes, reports."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_tiny_world
from support.scores import RECORDED, recorded_content, recorded_scores

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.evaluate.acceptance import (
    CONTROL_CRITERIA,
    DIVERSITY_CRITERIA,
    FRAME_CRITERIA,
    REWARD_CRITERIA,
    RelativeBound,
    check_criteria,
    drift_criteria,
    object_criteria,
)
from streamdit_gym.evaluate.card import card
from streamdit_gym.evaluate.comparison import directed_metrics
from streamdit_gym.evaluate.control_schema import (
    AblationMetrics,
    SweepCurve,
    SweepMetrics,
    TextMetrics,
)
from streamdit_gym.evaluate.diversity_schema import DiversityMetrics, OddsMetrics
from streamdit_gym.evaluate.failure_modes import FAILURE_MODES, Symptom, failure_modes
from streamdit_gym.evaluate.frame_schema import DriftRatio
from streamdit_gym.evaluate.measured_metrics import look_up, measured_metrics, placeholder_values
from streamdit_gym.evaluate.metric_table import METRICS, METRICS_BY_PATH
from streamdit_gym.evaluate.metrics.policy_ranking import policy_metrics
from streamdit_gym.evaluate.outcomes import CriterionResult
from streamdit_gym.evaluate.plots import POSITION_LINES, PSNR_LINES
from streamdit_gym.evaluate.report import HORIZON_COLUMNS, text_report
from streamdit_gym.evaluate.schema import SCHEMA_VERSION, OutcomeMetrics, PolicyReturns, Scores
from streamdit_gym.evaluate.statistics import Estimate
from streamdit_gym.world import World

CRITERIA = (
    *object_criteria(1),
    *FRAME_CRITERIA,
    *DIVERSITY_CRITERIA,
    *CONTROL_CRITERIA,
    *drift_criteria(0.95, 1.05),
    *REWARD_CRITERIA,
)


def estimate_of(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, count=9)


def result_of(scores: Scores, metric: str) -> CriterionResult:
    return next(result for result in check_criteria(scores) if result.metric == metric)


@pytest.mark.parametrize("name", RECORDED)
def test_a_file_says_its_version_and_is_read_back(name: str) -> None:
    scores = recorded_scores(name)
    content = json.loads(scores.to_json())
    assert content["schema_version"] == SCHEMA_VERSION
    assert Scores.from_dict(content) == scores


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_scores_get_the_verdicts_they_got(name: str) -> None:
    scores = recorded_scores(name)
    assert check_criteria(scores) == scores.criteria
    assert failure_modes(scores) == scores.failure_modes


@pytest.mark.parametrize("version", [None, 2, SCHEMA_VERSION + 1])
def test_scores_of_another_schema_are_refused(version: int | None) -> None:
    content = {**recorded_content(), "schema_version": version}
    with pytest.raises(StreamDiTError, match=r"(?s)another schema version.*evaluate the world"):
        Scores.from_dict(content)


@pytest.mark.parametrize("name", ["PushT", "PushT-Looks"])
def test_scores_in_shipped_bundles_are_read(name: str) -> None:
    scores = Scores.from_dict(World.from_pretrained(name).facts["scores"])
    assert scores.world == name
    assert check_criteria(scores) == scores.criteria


def diversity_of(spread: float, sharpness: float = 1.0, unclear: float = 0.0) -> DiversityMetrics:
    """Return what was measured of futures, as of no world: a spread beside unwanted variation."""
    one = estimate_of(1.0)
    return DiversityMetrics(
        starts=9,
        futures=8,
        frames=24,
        spread=estimate_of(spread),
        unwanted_variation=estimate_of(0.0),
        sharpness=estimate_of(sharpness),
        object_integrity={"pusher": one, "T": one},
        real_object_integrity={"pusher": one, "T": one},
        odds=OddsMetrics(
            real={"left": one},
            generated={"left": one},
            distance=estimate_of(0.0),
            noise_floor=estimate_of(0.1),
            unclear=estimate_of(unclear),
            real_unclear=estimate_of(0.0),
        ),
    )


def complete_scores() -> Scores:
    """Return scores that have every family of metrics, which no single world has."""
    scores = recorded_scores("PushT-Looks")
    one = estimate_of(1.0)
    named = {"angles": {"elbow": one}, "numbers": {"block.x": one}}
    copies = {"copy_angles": {"elbow": one}, "copy_numbers": {"block.x": one}}
    whole = {"frame_psnr_db": one, "copy_frame_psnr_db": one}
    by_dimension = {"shoulder.pos": one}
    motion = DriftRatio(generated=one, real=one, generated_over_real=one)
    curve = SweepCurve(values=(0.0,), real=(0.0,), generated=(0.0,), error=one, backward=one)
    returns = {str(i): PolicyReturns(generated=i, real=i + 0.1) for i in range(8)}
    return replace(
        scores,
        evaluator=replace(scores.evaluator, **named, inverse_dynamics_r=by_dimension),
        codec=replace(scores.codec, frame_psnr_db=one),
        drift=replace(scores.drift, motion=motion),
        fidelity=tuple(replace(row, **named, **copies, **whole) for row in scores.fidelity),
        action=replace(
            scores.action,
            dimension_r=by_dimension,
            real_dimension_r=by_dimension,
            dimension_fidelity=by_dimension,
        ),
        ablation=AblationMetrics(horizon=16, error_removed=one),
        diversity=diversity_of(spread=1.0),
        sweep=SweepMetrics(frames=8, dimensions={"shoulder.pos": curve}),
        outcome=OutcomeMetrics(
            horizon=16,
            real_reward_r=one,
            generated_reward_r=one,
            real_false_ends=one,
            generated_false_ends=one,
            real_end_recall=one,
            real_end_odds=one,
            generated_end_odds=one,
            real_reward_residual_r=one,
            generated_reward_residual_r=one,
        ),
        policies=policy_metrics(returns),
    )


def test_every_metric_of_the_table_is_in_the_schema() -> None:
    measured = {metric.metric.path for metric in measured_metrics(complete_scores())}
    assert measured == set(METRICS_BY_PATH)
    assert len(METRICS_BY_PATH) == len(METRICS), "two metrics have one path"


def test_complete_scores_are_read_back() -> None:
    scores = complete_scores()
    assert Scores.from_dict(json.loads(scores.to_json())) == scores


def test_criteria_are_about_metrics_of_the_table() -> None:
    assert {criterion.metric for criterion in CRITERIA} <= set(METRICS_BY_PATH)


def paths_of(symptom: Symptom) -> list[float | str | None]:
    paths = [symptom.number, symptom.above, *symptom.below]
    return paths + [path for other in symptom.also for path in paths_of(other)]


def tabled_paths() -> list[str]:
    """Return every path in the tables of metrics, criteria, failure modes, columns and lines."""
    paths: list[float | str | None] = [metric.path for metric in METRICS]
    paths += [metric.baseline for metric in METRICS]
    for criterion in CRITERIA:
        for bound in (criterion.at_least, criterion.at_most):
            paths += [bound.metric] if isinstance(bound, RelativeBound) else []
    for mode in FAILURE_MODES:
        for symptom in mode.symptoms:
            paths += paths_of(symptom)
    paths += [f"fidelity.{{horizon}}.{path}" for _, path, _ in HORIZON_COLUMNS]
    paths += [f"fidelity.{{horizon}}.{path}" for path, _, _ in (*POSITION_LINES, *PSNR_LINES)]
    return sorted({path for path in paths if isinstance(path, str)})


@pytest.mark.parametrize("path", tabled_paths())
def test_every_path_of_a_table_leads_to_a_number(path: str) -> None:
    scores = complete_scores()
    places = placeholder_values(path, scores)
    assert places
    for names in places:
        assert isinstance(look_up(scores, path.format(**names)), (Estimate, float))


def test_a_metric_is_found_by_its_path() -> None:
    scores = recorded_scores()
    assert (
        look_up(scores, "fidelity.16.state_error.actor_px")
        is scores.fidelity[2].state_error.actor_px
    )
    assert look_up(scores, "drift.object_integrity.T.low") == scores.drift.object_integrity["T"].low
    assert look_up(scores, "fidelity.17.psnr_db") is None
    assert look_up(complete_scores(), "action.dimension_r.shoulder.pos.low") == 1
    assert look_up(scores, "appearance.rates.all_after_4") is None


@pytest.mark.parametrize(("value", "passed"), [(27.9, False), (28.0, True), (float("nan"), None)])
def test_a_criterion_passes_from_its_bound_on(value: float, passed: bool | None) -> None:
    scores = recorded_scores()
    codec = replace(scores.codec, psnr_db=estimate_of(value))
    result = result_of(replace(scores, codec=codec), "codec.psnr_db")
    assert result.passed is passed
    assert result.bound == "at least 28.0 dB"


@pytest.mark.parametrize(("value", "passed"), [(0.94, False), (1.0, True), (1.06, False)])
def test_a_criterion_may_have_two_bounds(value: float, passed: bool) -> None:
    scores = recorded_scores()
    sharpness = replace(scores.drift.sharpness, generated_over_real=estimate_of(value))
    scores = replace(scores, drift=replace(scores.drift, sharpness=sharpness))
    assert result_of(scores, "drift.sharpness.generated_over_real").passed is passed


def test_a_bound_may_be_another_metric() -> None:
    scores = recorded_scores()
    row = scores.fidelity[2]
    worse = replace(row, psnr_db=estimate_of(row.copy_psnr_db.value - 0.1))
    fidelity = tuple(worse if row.horizon == 16 else row for row in scores.fidelity)
    result = result_of(replace(scores, fidelity=fidelity), "fidelity.16.psnr_db")
    assert result.passed is False
    assert "copying the first frame" in result.bound


def test_a_bound_that_was_not_measured_leaves_a_criterion_open() -> None:
    scores = recorded_scores()
    fidelity = tuple(replace(row, copy_psnr_db=estimate_of(np.nan)) for row in scores.fidelity)
    result = result_of(replace(scores, fidelity=fidelity), "fidelity.16.psnr_db")
    assert result.passed is None
    assert result.estimate == scores.fidelity[2].psnr_db
    assert result.bound == "at least that of copying the first frame"


def test_a_correlation_over_few_policies_stays_open() -> None:
    returns = {str(i): PolicyReturns(generated=i, real=i + 0.1) for i in range(8)}
    scores = replace(recorded_scores(), policies=policy_metrics(returns))
    assert result_of(scores, "policies.pearson_r").passed is True
    few = dict(list(returns.items())[:7])
    scores = replace(scores, policies=policy_metrics(few))
    assert result_of(scores, "policies.pearson_r").passed is None


def test_policies_that_were_not_run_are_no_criterion() -> None:
    metrics = {result.metric for result in check_criteria(recorded_scores())}
    assert "policies.pearson_r" not in metrics


def test_an_object_that_the_evaluator_itself_loses_is_not_lost_by_the_world() -> None:
    scores = recorded_scores()
    lost = replace(scores.drift, object_integrity={"T": estimate_of(0.5)})
    scores = replace(scores, drift=lost)
    assert failure_modes(scores)[0].startswith("loses objects")
    blind = replace(scores.evaluator, object_integrity={"T": estimate_of(0.4)})
    assert failure_modes(replace(scores, evaluator=blind)) == ()


def test_reports_say_which_criteria_failed() -> None:
    scores = recorded_scores()
    codec = replace(scores.codec, psnr_db=estimate_of(20))
    scores = replace(scores, codec=codec)
    scores = replace(scores, criteria=check_criteria(scores), failure_modes=("frozen",))
    text = text_report(scores)
    assert "failed" in text
    assert "FAILURE  frozen" in text
    limits = card(make_tiny_world(), scores).split("## Limits")[1]
    assert "**frozen**" in limits
    assert "Failed: codec: PSNR of moving pixels: 20.0 [20.0, 20.0] dB" in limits


def test_a_card_states_limits_even_when_every_criterion_passes() -> None:
    scores = recorded_scores()
    scores = replace(scores, criteria=check_criteria(scores), failure_modes=failure_modes(scores))
    assert all(result.passed for result in scores.criteria)
    limits = card(make_tiny_world(), scores).split("## Limits")[1]
    assert "exploration hardly visits" in limits
    assert "Errors add up" in limits
    assert "Not measured" in limits
    assert "none" not in limits


def test_a_student_that_ranked_policies_is_compared_with_a_teacher_that_did_not() -> None:
    teacher = recorded_scores()
    returns = {str(i): PolicyReturns(generated=i, real=i + 0.1) for i in range(8)}
    student = replace(teacher, policies=policy_metrics(returns))
    paths = [[each.path for each in directed_metrics(scores)] for scores in (student, teacher)]
    assert paths[0] == paths[1]
    assert paths[0]


def test_a_world_that_ignores_its_prompts_fails_the_criterion_of_free_text() -> None:
    """It is as bad under all phrases, so it was no help to hold one kind against the other."""
    scores = recorded_scores()
    chance = estimate_of(scores.action.chance)
    deaf = TextMetrics(menu_accuracy=chance, unseen_accuracy=chance, unseen_ratio=estimate_of(1.16))
    assert result_of(replace(scores, text=deaf), "text.unseen_accuracy").passed is False


def test_nothing_is_asked_of_what_a_world_does_not_have() -> None:
    scores = replace(recorded_scores(), text=None, reaction=None, readout=None)
    metrics = {result.metric.split(".")[0] for result in check_criteria(scores)}
    assert metrics == {"codec", "fidelity", "action", "drift"}


def test_reports_say_why_something_was_not_measured() -> None:
    scores = replace(recorded_scores(), text=None, reaction=None, readout=None)
    scores = replace(scores, evaluator=replace(scores.evaluator, object_integrity={}))
    for report in (text_report(scores), card(make_tiny_world(), scores)):
        assert "this world names no objects" in report
        assert "how unseen phrases are followed: this world names none" in report


def test_bounds_in_pixels_grow_with_the_frame() -> None:
    scores = recorded_scores()
    large = replace(scores, frame_size=(128, 128))
    metric = "fidelity.16.state_error.actor_px"
    assert "1.50 px" in result_of(scores, metric).bound
    assert "3.00 px" in result_of(large, metric).bound


def test_a_bound_may_be_a_share_of_copying_or_a_number_if_that_is_larger() -> None:
    scores = complete_scores()
    frames_alone = replace(scores, evaluator=replace(scores.evaluator, state_error=None))
    assert result_of(frames_alone, "fidelity.16.numbers.block.x").bound == (
        "at most 50.0% (50% of copying the first frame)"
    )
    assert result_of(frames_alone, "fidelity.16.angles.elbow").bound == "at most 5.0°"


@pytest.mark.parametrize(
    ("diversity", "mode"),
    [
        (diversity_of(spread=1.0), None),
        (diversity_of(spread=0.2), "draws one future only"),
        (diversity_of(spread=0.2, sharpness=0.7), "draws the mean"),
        (diversity_of(spread=0.2, unclear=0.9), "draws the mean"),
        (diversity_of(spread=0.8, sharpness=0.7), "mixes futures"),
        (diversity_of(spread=0.8, unclear=0.9), "mixes futures"),
        (replace(diversity_of(spread=1.0), unwanted_variation=estimate_of(0.5)), "varies without"),
    ],
)
def test_a_way_to_miss_chance_has_one_name(diversity: DiversityMetrics, mode: str | None) -> None:
    modes = failure_modes(replace(recorded_scores(), diversity=diversity))
    assert len(modes) == (mode is not None), modes
    assert all(name.startswith(str(mode)) for name in modes)


def test_odds_may_be_as_far_from_the_truth_as_two_real_samples_and_five_points_more() -> None:
    diversity = diversity_of(spread=1.0)
    assert diversity.odds is not None
    verdicts = {}
    for distance in (0.149, 0.151):
        odds = replace(diversity.odds, distance=estimate_of(distance))
        scores = replace(recorded_scores(), diversity=replace(diversity, odds=odds))
        verdicts[distance] = result_of(scores, "diversity.odds.distance").passed
    assert verdicts == {0.149: True, 0.151: False}


def test_reports_say_that_scores_of_earlier_versions_have_no_futures() -> None:
    assert "not measured: whether futures of one start differ" in text_report(recorded_scores())
