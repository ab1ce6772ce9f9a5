"""Ends that are a matter of chance: drawn in generated data, and measured by their odds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.chancy_worlds import chancy_world
from test_transition_readout import OWN, episodes_with_rewards

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.evaluate.metrics.outcome_accuracy import end_odds
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.episode_outcomes import outcomes_of
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.model.transition_readout import TransitionReadout, TransitionReadoutConfig
from streamdit_gym.train.stages.transition_stage import transition_errors
from streamdit_gym.world import World

CHANCE = 0.1


def outcomes(world: World, seed: int) -> np.ndarray:
    """Return after which of 64 x 20 steps a task is over."""
    latents = torch.zeros(64, 21, *world.starts.latents.shape[1:])
    actions = np.zeros((64, 20, 2), np.float32)
    scores = np.zeros((64, 21, len(world.spec.score_names)), np.float32)
    rng = np.random.default_rng(seed)
    return outcomes_of(world, "own", latents, actions, scores, rng).successes


def test_generated_steps_end_with_their_probability() -> None:
    world = chancy_world(CHANCE)
    ends = outcomes(world, seed=3)
    assert ends.mean() == pytest.approx(CHANCE, abs=0.025)  # 1,280 steps: a deviation of 0.008
    assert np.array_equal(ends, outcomes(world, seed=3))
    assert not np.array_equal(ends, outcomes(world, seed=4))


def test_a_readout_with_a_threshold_ends_none_of_them() -> None:
    world = chancy_world(CHANCE)
    tasks = {"own": replace(world.spec.tasks["own"], draws_ends=False)}
    read = replace(world, spec=replace(world.spec, tasks=tasks))
    assert not outcomes(read, seed=3).any()


def test_a_generated_data_set_earns_nothing_after_an_end(tmp_path: Path) -> None:
    chancy_world().save_pretrained(tmp_path / "world")
    config = GenerateConfig(
        world=str(tmp_path / "world"), task="own", episodes=8, steps=12, batch=8
    )
    generate(config, tmp_path / "a")
    generate(config, tmp_path / "b")
    first, again = (Dataset(tmp_path / name).shard(0).rewards for name in ("a", "b"))
    np.testing.assert_array_equal(first, again)
    earning_steps = (first[:, 1:, 0] != 0).sum(1)
    assert earning_steps.min() < earning_steps.max(), "episodes end at different steps"
    for rewards, count in zip(first[:, 1:, 0], earning_steps, strict=True):
        assert (rewards[:count] != 0).all()
        assert not rewards[count:].any()


def hazards(count: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return chances of an end after each step, the ends that came of them, and what is a step.

    An end's mark is on the step after the one that led to it.
    """
    rng = np.random.default_rng(5)
    chances = rng.uniform(0, 0.2, (count, steps))
    comes = rng.random((count, steps)) < chances
    comes[:, -1] = False
    first = np.where(comes.any(1), comes.argmax(1), steps)
    places = np.arange(steps)
    ends = places == first[:, None] + 1
    is_step = places <= first[:, None] + 1
    return chances, ends, is_step


def test_right_chances_have_even_odds() -> None:
    chances, ends, is_step = hazards(400, 12)
    odds = end_odds(chances, ends, is_step)
    assert odds.low < 1 < odds.high
    assert odds.value == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("times", [0.5, 2])
def test_chances_that_are_too_small_or_large_show(times: float) -> None:
    chances, ends, is_step = hazards(400, 12)
    odds = end_odds(times * chances, ends, is_step)
    assert odds.value == pytest.approx(times, rel=0.12)
    assert not odds.low < 1 < odds.high


def test_the_last_step_does_not_count() -> None:
    """It shows what came of the step before, and its picture says too much."""
    chances, ends, is_step = hazards(50, 12)
    after_the_end = np.where(ends, 1.0, chances)
    assert end_odds(after_the_end, ends, is_step).value == end_odds(chances, ends, is_step).value


def test_training_reports_odds() -> None:
    task = replace(OWN, draws_ends=True)
    readout = TransitionReadout(TransitionReadoutConfig(width=8))
    readout.out.weight.data[1] = 0
    readout.out.bias.data[1] = np.log(0.5 / 0.5)
    episodes = episodes_with_rewards(4, 10)
    errors = transition_errors(readout, episodes, 0, task, "cpu")
    # two of four episodes end: 8 and 9 steps with even chances, two ends
    assert errors["ends_expected_for_every_real_one"] == pytest.approx(0.5 * 34 / 2)
    assert set(errors) == {"reward_correlation", "ends_expected_for_every_real_one"}
