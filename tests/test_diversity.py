"""Many futures of one start: as different as real ones, with the same odds, and none mixed."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import make_tiny_world
from support.chance import (
    BlendOfTwo,
    MeanOfFutures,
    OneFuture,
    OtherOdds,
    RememberingCrossroads,
    TrueSampler,
)
from support.dots import DotSimulator, PerfectDots, menu_spec, menu_world
from support.scores import recorded_scores

from streamdit_gym.actions import Menu
from streamdit_gym.data.recorder import RecordConfig, record_shard
from streamdit_gym.definition import Reseeds, SavesState, StepOutcome, WorldDefinition, WorldSpec
from streamdit_gym.envs.crossroads.world import WORLD as CROSSROADS
from streamdit_gym.evaluate.acceptance import check_criteria
from streamdit_gym.evaluate.candidate import Rollout, WorldCandidate
from streamdit_gym.evaluate.card import card
from streamdit_gym.evaluate.diversity_schema import DiversityMetrics
from streamdit_gym.evaluate.failure_modes import failure_modes
from streamdit_gym.evaluate.html_report import html_report
from streamdit_gym.evaluate.metrics.diversity import diversity_metrics, pairwise_distance
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.outcome_odds import (
    noise_floor,
    odds_metrics,
    total_variation,
)
from streamdit_gym.evaluate.metrics.pixel_metrics import contrast_under
from streamdit_gym.evaluate.real_futures import (
    CONTEXT_FRAMES,
    FuturesPlan,
    RealFutures,
    can_reseed,
    record_futures,
)
from streamdit_gym.evaluate.report import text_report
from streamdit_gym.evaluate.schema import Scores

PLAN = FuturesPlan(starts=4, futures=6, frames=18)
SEED = 3
WORLD = replace(CROSSROADS, make_simulator=RememberingCrossroads)


@pytest.fixture(scope="module")
def real() -> RealFutures:
    futures = record_futures(WORLD, PLAN, SEED)
    assert futures is not None
    return futures


def context_of(candidate: Any, reference: WorldDefinition, held_out: Any = None) -> Any:
    return EvaluationContext(
        candidate=candidate, reference=reference, held_out=held_out, models=None
    )


@pytest.fixture(scope="module")
def blend(real: RealFutures) -> DiversityMetrics:
    return measured(BlendOfTwo(), real)


def measured(candidate: Any, real: RealFutures) -> DiversityMetrics:
    diversity = diversity_metrics(context_of(candidate, WORLD), PLAN, real)
    assert diversity is not None
    return diversity


def scores_with(diversity: DiversityMetrics) -> Scores:
    """Return scores of which all but the futures are a good world's."""
    scores = recorded_scores()
    rates = diversity.real_object_integrity
    return replace(
        scores,
        diversity=diversity,
        drift=replace(scores.drift, object_integrity=rates),
        evaluator=replace(scores.evaluator, object_integrity=rates),
    )


def failed(diversity: DiversityMetrics) -> set[str]:
    results = check_criteria(scores_with(diversity))
    return {r.metric for r in results if r.passed is False and r.metric.startswith("diversity")}


def test_a_true_sampler_passes(real: RealFutures) -> None:
    diversity = measured(TrueSampler(), real)
    assert failed(diversity) == set()
    assert failure_modes(scores_with(diversity)) == ()
    passed = {r.metric for r in check_criteria(scores_with(diversity)) if r.passed}
    assert {
        "diversity.spread",
        "diversity.sharpness",
        "diversity.object_integrity.ball",
        "diversity.odds.distance",
        "diversity.odds.unclear",
    } <= passed


@pytest.mark.parametrize(
    ("world", "failure", "criteria"),
    [
        (MeanOfFutures, "draws the mean", {"spread", "sharpness", "odds.unclear"}),
        (OneFuture, "draws one future only", {"spread"}),
    ],
)
def test_a_world_without_diversity_is_called_by_its_failure_mode(
    world: type[TrueSampler], failure: str, criteria: set[str], real: RealFutures
) -> None:
    check_failure(measured(world(), real), failure, criteria)


def test_a_world_that_mixes_futures_is_called_by_its_failure_mode(blend: DiversityMetrics) -> None:
    check_failure(blend, "mixes futures", {"odds.unclear", "object_integrity.ball"})


def check_failure(diversity: DiversityMetrics, failure: str, criteria: set[str]) -> None:
    """Check that a world is called by its failure mode and by no other, and fails criteria."""
    modes = failure_modes(scores_with(diversity))
    assert len(modes) == 1, modes
    assert modes[0].startswith(failure)
    assert {f"diversity.{name}" for name in criteria} <= failed(diversity)


def test_a_world_with_other_odds_fails(real: RealFutures) -> None:
    diversity = measured(OtherOdds(), real)
    assert "diversity.odds.distance" in failed(diversity)
    assert "diversity.odds.unclear" not in failed(diversity)


def test_reports_show_futures(blend: DiversityMetrics) -> None:
    scores = scores_with(blend)
    scores = replace(scores, criteria=check_criteria(scores), failure_modes=failure_modes(scores))
    page = html_report(scores)
    assert "Futures of one start" in page
    for report in (page, text_report(scores), card(make_tiny_world(), scores)):
        assert "mixes futures" in report
        assert "share of futures with the outcome: right" in report
    assert Scores.from_dict(json.loads(scores.to_json())) == scores


def test_futures_of_one_start_share_its_frames_and_actions(real: RealFutures) -> None:
    assert real.context.shape == (4, CONTEXT_FRAMES, 64, 64, 3)
    assert real.actions.shape == (4, CONTEXT_FRAMES - 1 + 18)
    assert real.frames.shape == (4, 6, 18, 64, 64, 3)
    assert real.lengths.tolist() == [18] * 4
    paddle = real.frames[:, :, :, 58:62]
    assert (paddle == paddle[:, :1]).all(), "it follows the actions"
    assert all((each[:1] != each[1:]).any() for each in real.frames)


def test_real_futures_depend_on_the_seed_alone(real: RealFutures) -> None:
    few = record_futures(WORLD, replace(PLAN, starts=2), SEED)
    assert few is not None
    assert (few.frames == real.frames[:2]).all()
    other = record_futures(WORLD, replace(PLAN, starts=2), SEED + 1)
    assert other is not None
    assert (few.frames != other.frames).any()


class EndingCrossroads(RememberingCrossroads):
    """The same; an episode ends when a ball arrives at the bottom, and nothing comes behind."""

    def step(self, action: Any) -> np.ndarray:
        assert not self.outcome().terminated, "the episode has ended"
        return super().step(action)

    def outcome(self) -> StepOutcome:
        return StepOutcome(0.0, bool(self._y >= 52))


def test_futures_count_up_to_the_first_end_of_an_episode() -> None:
    ending = replace(CROSSROADS, make_simulator=EndingCrossroads)
    futures = record_futures(ending, replace(PLAN, starts=6), SEED)
    assert futures is not None
    assert len(set(futures.lengths.tolist())) > 1
    assert futures.lengths.max() <= 18
    assert futures.lengths.min() == 0, "some end in the frames before the futures"
    for frames, length in zip(futures.frames, futures.lengths, strict=True):
        if 0 < length < 18:
            assert (frames[:, length:] == frames[:, -1:]).all(2).any(), "nothing after the end"


def test_a_simulator_that_cannot_reseed_is_determined() -> None:
    assert can_reseed(CROSSROADS)
    assert not can_reseed(menu_world())
    assert not can_reseed(replace(CROSSROADS, make_simulator=None))
    assert record_futures(menu_world(), PLAN, SEED) is None


class CertainDot(DotSimulator):
    """A dot that can be reseeded, though nothing in it is left to chance."""

    def save(self) -> Any:
        return self.place.copy()

    def restore(self, saved: Any) -> None:
        self.place = saved.copy()

    def reseed(self, rng: np.random.Generator) -> None:
        pass


def test_a_simulator_whose_futures_are_all_the_same_is_determined() -> None:
    assert isinstance(CertainDot(), SavesState)
    assert isinstance(CertainDot(), Reseeds)
    definition = replace(menu_world(), make_simulator=CertainDot)
    assert can_reseed(definition)
    assert record_futures(definition, PLAN, SEED) is None


class JitteryDots(PerfectDots):
    """Every stream goes on from another place."""

    def roll_out(self, context: Any, prompts: Any, seed: int = 0, actions: Any = None) -> Rollout:
        rollout = super().roll_out(context, prompts, seed, actions)
        rng = np.random.default_rng(seed)
        frames = [np.roll(each, rng.integers(-8, 9), axis=2) for each in rollout.frames]
        return replace(rollout, frames=np.stack(frames))


@pytest.mark.parametrize(("world", "passed"), [(PerfectDots, True), (JitteryDots, False)])
def test_of_a_determined_world_variation_is_unwanted(
    world: type[PerfectDots], passed: bool
) -> None:
    held_out = record_shard(menu_world(), RecordConfig(episodes=4, steps=12), 0)
    context = context_of(world(menu_spec()), menu_world(), held_out)
    diversity = diversity_metrics(context, PLAN, None)
    assert diversity is not None
    assert diversity.spread is None
    assert diversity.odds is None
    scores = replace(recorded_scores(), diversity=diversity)
    (result,) = [r for r in check_criteria(scores) if r.metric.startswith("diversity")]
    assert result.metric == "diversity.unwanted_variation"
    assert result.passed is passed
    assert bool(failure_modes(scores)) is not passed


def test_without_a_simulator_futures_are_not_measured() -> None:
    blind = replace(menu_world(), make_simulator=None)
    assert diversity_metrics(context_of(PerfectDots(menu_spec()), blind), PLAN, None) is None


def test_a_trained_worlds_futures_have_noise_of_their_own() -> None:
    """In a buffer of several chunks noise shows."""
    world = make_tiny_world()
    candidate = WorldCandidate(world, "K4N4c1s1")
    spec: WorldSpec = candidate.spec
    assert isinstance(spec.actions, Menu)
    rng = np.random.default_rng(0)
    real = RealFutures(
        context=rng.integers(0, 255, (1, 2, 64, 64, 3), dtype=np.uint8),
        actions=np.zeros((1, 4), int),
        frames=rng.integers(0, 255, (1, 2, 3, 64, 64, 3), dtype=np.uint8),
        lengths=np.array([3]),
    )
    definition = WorldDefinition.of(spec, make_simulator=RememberingCrossroads)
    diversity = diversity_metrics(context_of(candidate, definition), PLAN, real)
    assert diversity is not None
    assert diversity.spread is not None
    assert diversity.spread.value > 0
    assert diversity.film_strip is not None
    assert (diversity.film_strip[2] != diversity.film_strip[3]).any()


def test_the_distance_of_futures_is_that_of_all_their_pairs() -> None:
    latents = np.random.default_rng(0).normal(size=(5, 3, 2, 4))
    distances = []
    for a, b in itertools.combinations(latents, 2):
        distances += [np.sqrt(np.mean((x - y) ** 2)) for x, y in zip(a, b, strict=True)]
    assert pairwise_distance(latents) == pytest.approx(np.mean(distances))


def test_contrast_is_that_of_neighbouring_pixels_under_a_mask() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    mask = np.random.default_rng(1).random((4, 5)) < 0.5
    expected = 0.0
    for row, column in np.argwhere(mask):
        for below, right in ((1, 0), (0, 1)):
            if row + below < 4 and column + right < 5:
                other = frame[row + below, column + right].astype(float)
                expected += ((other - frame[row, column]) ** 2).mean()
    assert contrast_under(mask, frame) == pytest.approx(expected, rel=1e-5)


def test_total_variation_is_half_of_all_differences() -> None:
    shares = np.array([[[0.5, 0.5, 0.0], [0.2, 0.5, 0.3]]])
    assert total_variation(shares) == pytest.approx(0.3)
    assert total_variation(shares[:, [0, 0]]) == 0


def test_two_real_samples_stay_below_the_noise_floor_in_95_of_100_cases() -> None:
    rng = np.random.default_rng(1)
    odds = np.array([[0.3, 0.7], [0.9, 0.1], [1.0, 0.0]])
    floor = noise_floor(odds, 8).value
    below = 0
    for _ in range(500):
        a, b = (np.array([rng.multinomial(8, each) for each in odds]).sum(0) / 24 for _ in "ab")
        below += np.abs(a - b).sum() / 2 <= floor
    assert 0.92 <= below / 500 <= 1.0
    assert noise_floor(odds, 800).value < 0.2 * floor


def test_odds_are_shares_over_all_futures() -> None:
    odds = odds_metrics(
        real=[["left", "right"], ["right", "right"]],
        generated=[["left", "unclear"], ["up", "right"]],
    )
    assert odds is not None
    assert {name: each.value for name, each in odds.real.items()} == {
        "left": 0.25,
        "right": 0.75,
        "up": 0.0,
    }
    assert odds.generated["up"].value == 0.25
    assert odds.unclear.value == 0.25
    assert odds.real_unclear.value == 0.0
    assert odds.distance.value == pytest.approx(0.5)
    assert odds_metrics([], []) is None
