"""Crossroads: a small world whose chances are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamdit_gym.envs.crossroads.definition import (
    BALL_COLOURS,
    CHANGE_ODDS,
    LEFT_AT_POST,
    LEFT_AT_SCREEN,
    PADDLE_STEPS,
    SPEC,
)
from streamdit_gym.envs.crossroads.simulator import CrossroadsSimulator
from streamdit_gym.errors import ActionError

STAY, LEFT, RIGHT = range(3)
BALLS = 600


def started(seed: int = 0) -> CrossroadsSimulator:
    simulator = CrossroadsSimulator()
    simulator.reset(np.random.default_rng(seed), "any")
    return simulator


def at_the_top(seed: int = 0) -> CrossroadsSimulator:
    simulator = started(seed)
    while simulator._y != 3:
        simulator.step(STAY)
    return simulator


def test_balls_turn_and_come_out_with_the_odds_that_the_definition_names() -> None:
    simulator = at_the_top()
    turns, exits = [], []
    for _ in range(BALLS):
        for _ in range(11):
            simulator.step(STAY)
        turns.append(simulator._is_left)
        while simulator._y < 52:
            simulator.step(STAY)
        if simulator._is_left:
            exits.append(simulator._x < 18)
        simulator.step(STAY)
    assert np.mean(turns) == pytest.approx(LEFT_AT_POST, abs=3 * 0.5 / BALLS**0.5)
    assert np.mean(exits) == pytest.approx(LEFT_AT_SCREEN, abs=3 * 0.5 / len(exits) ** 0.5)


def test_the_colour_changes_with_its_odds() -> None:
    simulator = at_the_top()
    changes = []
    for _ in range(4000):
        before = simulator._colour
        is_new = simulator._y == 52
        simulator.step(STAY)
        if not is_new:
            changes.append(simulator._colour != before)
    assert np.mean(changes) == pytest.approx(CHANGE_ODDS, abs=0.015)


def test_actions_move_the_paddle_and_nothing_else() -> None:
    simulator = started()
    saved = simulator.save()
    frames = []
    for action in (STAY, LEFT, RIGHT):
        simulator.restore(saved)
        before = simulator.state()[0]
        frames.append(simulator.step(action))
        moved = simulator.state()[0] - before
        assert moved == pytest.approx(PADDLE_STEPS[action], abs=1e-4)
    above_paddle = slice(0, 57)
    assert (frames[0][above_paddle] == frames[1][above_paddle]).all()
    assert (frames[0] != frames[1]).any()


def test_a_caught_ball_earns_one_and_a_missed_ball_nothing() -> None:
    simulator = at_the_top()
    for is_caught in (True, False):
        while simulator._y < 52:
            simulator.step(STAY)
        away = 20 if simulator._x < 32 else -20
        simulator._paddle = simulator._x + (0 if is_caught else away)
        assert simulator.outcome() == (0.0, False)
        simulator.step(STAY)
        assert simulator.outcome() == (float(is_caught), False)


def rollout(simulator: CrossroadsSimulator, steps: int = 40) -> np.ndarray:
    return np.stack([simulator.step(STAY) for _ in range(steps)])


def test_a_restored_state_goes_on_alike_and_a_reseeded_one_otherwise() -> None:
    simulator = at_the_top()
    saved = simulator.save()
    first = rollout(simulator)
    simulator.restore(saved)
    assert (rollout(simulator) == first).all()
    simulator.restore(saved)
    simulator.reseed(np.random.default_rng(5))
    assert (rollout(simulator) != first).any()
    # the same generator, the same future
    again = started(3)
    again.restore(saved)
    again.reseed(np.random.default_rng(5))
    simulator.restore(saved)
    simulator.reseed(np.random.default_rng(5))
    assert (rollout(again) == rollout(simulator)).all()


def test_the_ball_has_its_colour_and_is_hidden_behind_the_screen() -> None:
    simulator = at_the_top()
    while not simulator._is_left:
        simulator.step(STAY)
    while simulator._y != 37:
        frame = simulator.step(STAY)
    differences = [np.abs(frame.astype(int) - colour).max(-1) for colour in BALL_COLOURS]
    assert min(difference.min() for difference in differences) > 60
    while simulator._y != 49:
        frame = simulator.step(STAY)
    difference = np.abs(frame.astype(int) - BALL_COLOURS[simulator._colour]).max(-1)
    assert 35 < (difference < 30).sum() < 60


@pytest.mark.parametrize("bad", [-1, 3, 0.5, "left", None], ids=str)
def test_a_bad_action_is_refused(bad: Any) -> None:
    with pytest.raises(ActionError, match="no such move"):
        started().step(bad)


def test_frames_fit_the_definition() -> None:
    frame = started().step(RIGHT)
    assert frame.shape == SPEC.frame_shape
    assert frame.dtype == np.uint8
