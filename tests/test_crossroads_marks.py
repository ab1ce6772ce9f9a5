"""What is read off frames of Crossroads: one whole ball, its colour, and which way it went."""

from __future__ import annotations

import itertools
from collections import Counter

import cv2
import numpy as np
import pytest

from streamdit_gym.definition import UNCLEAR
from streamdit_gym.envs.crossroads.definition import LEFT_AT_POST, LEFT_AT_SCREEN
from streamdit_gym.envs.crossroads.marks import ball_integrity, ball_outcome, find_balls
from streamdit_gym.envs.crossroads.simulator import CrossroadsSimulator

EPISODES = 40
STEPS = 30
MIN_DISTANCE = 4.0  # px between two balls of a mixture


def play(seed: int, steps: int = STEPS) -> tuple[np.ndarray, list[tuple[float, float, int]]]:
    """Return an episode's frames, and where its ball was, in which colour."""
    rng = np.random.default_rng(seed)
    simulator = CrossroadsSimulator()
    frames = [simulator.reset(rng, "any")]
    truth = [(simulator._x, simulator._y, simulator._colour)]
    for _ in range(steps):
        frames.append(simulator.step(int(rng.integers(3))))
        truth.append((simulator._x, simulator._y, simulator._colour))
    return np.stack(frames), truth


@pytest.fixture(scope="module")
def episodes() -> list[tuple[np.ndarray, list[tuple[float, float, int]]]]:
    return [play(seed) for seed in range(EPISODES)]


@pytest.fixture(scope="module")
def frames(episodes: list[tuple[np.ndarray, list[tuple[float, float, int]]]]) -> np.ndarray:
    return np.concatenate([shown for shown, _ in episodes])


@pytest.fixture(scope="module")
def pairs(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of frames with a ball in different places, or of different colours."""
    balls = find_balls(frames)
    first, second = np.random.default_rng(0).integers(len(frames), size=(2, 400))
    distance = np.hypot(balls.x[first] - balls.x[second], balls.y[first] - balls.y[second])
    differ = (distance > MIN_DISTANCE) | (balls.colour[first] != balls.colour[second])
    seen = (balls.is_whole[first] == 1) & (balls.is_whole[second] == 1)
    return frames[first[differ & seen]], frames[second[differ & seen]]


def is_whole(frames: np.ndarray) -> np.ndarray:
    return ball_integrity(frames)["ball"]


def test_real_frames_show_one_whole_ball_or_none(frames: np.ndarray) -> None:
    whole = is_whole(frames)
    assert (whole != 0).mean() >= 0.99
    assert (whole == 1).mean() > 0.9, "behind the screen it is seldom"


def test_the_ball_is_found_where_it_is(
    episodes: list[tuple[np.ndarray, list[tuple[float, float, int]]]],
) -> None:
    for shown, truth in episodes[:10]:
        balls = find_balls(shown)
        x, y, colour = np.array(truth).T
        seen = balls.is_whole == 1
        assert (balls.colour[seen] == colour[seen]).all()
        is_open = seen & ((x > 32) | (y < 30))  # beside the screen little may be seen of it
        assert np.abs(balls.x - x)[is_open].max() < 1
        assert np.abs(balls.y - y)[is_open].max() < 1


def test_a_ball_behind_the_screen_cannot_be_told() -> None:
    simulator = CrossroadsSimulator()
    simulator.reset(np.random.default_rng(0), "any")
    simulator._x, simulator._y = 18.0, 37.0
    balls = find_balls(simulator._draw()[None])
    assert np.isnan(balls.is_whole).all()
    assert balls.colour.tolist() == [-1]


def test_a_decoders_softness_and_noise_break_no_ball(frames: np.ndarray) -> None:
    soft = [cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 0.9) for frame in frames[:300]]
    noise = np.random.default_rng(0).normal(0, 4, (300, 64, 64, 3))
    shown = (np.stack(soft) + noise).clip(0, 255).astype(np.uint8)
    assert (is_whole(shown) != 0).mean() >= 0.99


@pytest.mark.parametrize("share", [0.35, 0.5])
def test_two_balls_that_shine_through_each_other_are_no_ball(
    share: float, pairs: tuple[np.ndarray, np.ndarray]
) -> None:
    first, second = pairs
    blend = share * first.astype(float) + (1 - share) * second
    assert (is_whole(blend.round().astype(np.uint8)) == 1).mean() < 0.05


def test_two_balls_are_not_one(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pairs
    balls = [find_balls(each) for each in pairs]
    apart = np.hypot(balls[0].x - balls[1].x, balls[0].y - balls[1].y) > MIN_DISTANCE
    both = np.minimum(first, second)[apart]  # the ground is the lightest colour
    assert (is_whole(both) == 1).mean() < 0.01


def test_a_smeared_ball_is_not_whole(frames: np.ndarray) -> None:
    smeared = [cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames[:200]]
    assert (is_whole(np.stack(smeared)) == 1).mean() < 0.01
    pulled = [cv2.blur(frame, (9, 1)) for frame in frames[:200]]
    assert (is_whole(np.stack(pulled)) == 1).mean() < 0.05


def test_a_faint_ball_is_not_whole(frames: np.ndarray) -> None:
    ground = frames.max(0)
    faint = (0.5 * frames[:200] + 0.5 * ground).round().astype(np.uint8)
    assert (is_whole(faint) == 1).mean() < 0.05


def true_outcome(truth: list[tuple[float, float, int]]) -> str:
    """Return the outcome by what the simulator knows; `ball_outcome` has frames alone."""
    events = []
    for (x, y, _), (next_x, next_y, _) in itertools.pairwise(truth):
        if x == 32 and next_x != 32 and next_y > y:
            events.append("left" if next_x < 32 else "right")
        if x < 32 and next_y == 43.0:  # the first place below the screen
            events.append("out on the left" if next_x == 11 else "out on the right")
    if not events:
        return "no turn"
    if events[0] == "left" and len(events) > 1:
        return f"left, {events[1]}"
    return events[0]


def test_outcomes_are_those_that_the_simulator_drew() -> None:
    outcomes = Counter()
    for seed in range(90):
        shown, truth = play(seed, steps=24)
        expected = true_outcome(truth)
        assert ball_outcome(shown) == expected, seed
        outcomes[expected] += 1
    assert {"right", "left, out on the left", "out on the right"} <= set(outcomes)


def test_a_future_in_which_the_ball_is_lost_is_unclear() -> None:
    shown, _ = play(1)
    ground = shown.max(0)
    assert ball_outcome(shown) != UNCLEAR
    lost = np.concatenate([shown[:8], ground[None].repeat(9, 0)])
    assert ball_outcome(lost) == UNCLEAR
    assert ball_outcome(ground[None].repeat(9, 0)) == UNCLEAR


def test_a_ball_that_jumps_is_unclear() -> None:
    shown = play(1)[0]
    balls = find_balls(shown)
    far = int(np.argmax(np.abs(balls.x - balls.x[0])))
    near = np.stack([shown[0], shown[far], shown[0], shown[far]])
    assert abs(balls.x[far] - balls.x[0]) > MIN_DISTANCE
    assert ball_outcome(near) == UNCLEAR


def test_a_mixture_of_two_futures_is_unclear() -> None:
    simulator = CrossroadsSimulator()
    simulator.reset(np.random.default_rng(0), "any")
    simulator._x, simulator._y, simulator._rolled = 32.0, 6.0, 0
    saved = simulator.save()
    by_outcome = {}
    for seed in range(12):
        simulator.restore(saved)
        simulator.reseed(np.random.default_rng(seed))
        future = np.stack([simulator.step(0) for _ in range(12)])
        by_outcome[ball_outcome(future)] = future
    assert set(by_outcome) == {"left", "right"}
    mixture = np.mean(list(by_outcome.values()), axis=0).round().astype(np.uint8)
    assert ball_outcome(mixture) == UNCLEAR


def test_a_reseeded_simulator_draws_by_its_odds_even_where_the_ball_is_hidden() -> None:
    simulator = CrossroadsSimulator()
    simulator.reset(np.random.default_rng(0), "any")
    for y, odds in ((12.0, LEFT_AT_POST), (37.0, LEFT_AT_SCREEN), (40.0, LEFT_AT_SCREEN)):
        simulator._x, simulator._y = (32.0, y) if y == 12.0 else (11.0, y)
        simulator._rolled = 0 if y == 12.0 else 7
        simulator._is_left = y != 12.0
        saved = simulator.save()
        went_left = []
        for seed in range(600):
            simulator.restore(saved)
            simulator.reseed(np.random.default_rng(seed))
            simulator._move_ball()
            went_left.append(simulator._is_left if y == 12.0 else simulator._x == 11.0)
        assert np.mean(went_left) == pytest.approx(odds, abs=0.06)
