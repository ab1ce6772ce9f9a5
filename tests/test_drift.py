"""Long streams: what changes of them between their beginning and their end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamdit_gym.evaluate.metrics.drift import (
    MAX_MOTION_PAIRS,
    MOTION,
    _drift_ratio,
    _ends,
    image_statistics,
    motion_pairs,
)

FRAMES = 40
WINDOW = 6


def gliding_square(stops_at: int = FRAMES) -> np.ndarray:
    """Return frames of a textured square that goes to and fro by two pixels a frame."""
    texture = np.random.default_rng(0).integers(60, 255, (12, 12, 3), dtype=np.uint8)
    frames = np.zeros((FRAMES, 64, 64, 3), dtype=np.uint8)
    for number in range(FRAMES):
        turn = min(number, stops_at) % 20
        place = 10 + 2 * min(turn, 20 - turn)
        frames[number, 20:32, place : place + 12] = texture
    return frames


def motion_ratio(generated: np.ndarray, real: np.ndarray) -> float:
    pairs = motion_pairs(FRAMES, WINDOW)
    ends = [_ends(image_statistics(each, pairs)[None], WINDOW) for each in (generated, real)]
    return _drift_ratio(*ends, MOTION).generated_over_real.value


def test_motion_that_goes_on_is_told_from_motion_that_dies() -> None:
    assert motion_ratio(gliding_square(), gliding_square()) == pytest.approx(1)
    assert motion_ratio(gliding_square(stops_at=20), gliding_square()) == pytest.approx(0)


def test_motion_is_measured_in_pixels_where_it_is_asked_for() -> None:
    motion = image_statistics(gliding_square(), frozenset({3, 5}))[:, MOTION]
    assert motion[[3, 5]] == pytest.approx(2, abs=0.3)
    assert np.isnan(motion).sum() == FRAMES - 2


def test_where_nothing_real_moves_there_is_no_ratio() -> None:
    assert math.isnan(motion_ratio(gliding_square(), gliding_square(stops_at=0)))


@pytest.mark.parametrize(("frames", "window"), [(2, 2), (12, 2), (600, 90), (10_000, 1500)])
def test_pairs_lie_in_both_ends_and_are_not_many(frames: int, window: int) -> None:
    pairs = motion_pairs(frames, window)
    assert any(number < window for number in pairs)
    assert any(number >= frames - window for number in pairs)
    assert len(pairs) <= 2 * MAX_MOTION_PAIRS
    assert min(pairs) >= 1
    assert max(pairs) < frames
