"""What is measured in a given time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.dots import box_world, menu_world

from streamdit_gym.envs.crossroads.world import WORLD as CROSSROADS
from streamdit_gym.evaluate.evaluation import QUICK
from streamdit_gym.evaluate.real_futures import FuturesPlan
from streamdit_gym.evaluate.time_budget import (
    SHARES,
    EvaluationCosts,
    config_within,
    estimated_seconds,
    scaled,
)

COSTS = EvaluationCosts(
    real_frame=0.003,
    generated_frame=0.01,
    read_frame=0.001,
    probe_step=0.1,
    inverse_step=0.01,
    encoded_frame=0.002,
)


def test_with_time_enough_everything_is_measured() -> None:
    assert config_within(10_000, QUICK, COSTS, menu_world()) == QUICK


@pytest.mark.parametrize("minutes", [2.4, 5, 8])
def test_an_evaluation_is_cut_to_the_time(minutes: float) -> None:
    config = config_within(60 * minutes, QUICK, COSTS, box_world())
    assert config != QUICK
    assert estimated_seconds(config, COSTS, box_world()) <= 60 * minutes


def test_without_any_time_the_smallest_evaluation_is_left() -> None:
    config = config_within(0, QUICK, COSTS, menu_world())
    assert config == scaled(QUICK, SHARES[-1])
    assert config.episodes >= 8
    assert config.horizons == (1, 4, 16)


def test_smaller_shares_take_less_time() -> None:
    seconds = [estimated_seconds(scaled(QUICK, share), COSTS, menu_world()) for share in SHARES]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] < 0.2 * seconds[0]


def test_futures_of_a_world_with_chance_take_time() -> None:
    one = replace(QUICK, futures=FuturesPlan(starts=1, futures=2, frames=10), workers=2)
    more = replace(one, futures=FuturesPlan(starts=3, futures=4, frames=10))
    frames = 3 * 4 * 10 - 1 * 2 * 10
    added = estimated_seconds(more, COSTS, CROSSROADS) - estimated_seconds(one, COSTS, CROSSROADS)
    simulated = COSTS.real_frame / one.workers
    expected = frames * (COSTS.generated_frame + simulated + 2 * COSTS.encoded_frame)
    assert added == pytest.approx(expected)


def test_of_a_determined_world_few_futures_are_generated() -> None:
    few = replace(QUICK, futures=FuturesPlan(starts=4, futures=4))
    many = replace(QUICK, futures=FuturesPlan(starts=4, futures=400))
    seconds = [estimated_seconds(config, COSTS, menu_world()) for config in (few, many)]
    assert seconds[0] == seconds[1]
