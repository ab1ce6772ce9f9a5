"""Pixels that move weigh more, whatever else a scene shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamdit_gym.train.pixel_weights import MotionWeight, moving_pixels, typical_picture

SIZE = 32


def episodes_on_a_patterned_floor() -> np.ndarray:
    """Return episodes of a small square that moves over a chequered floor."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    floor = np.where((rows // 4 + columns // 4) % 2, 200, 40).astype(np.uint8)
    episodes = np.repeat(floor[None, None, ..., None], 6, 0).repeat(12, 1).repeat(3, 4)
    for episode in range(6):
        for frame in range(12):
            column = 2 * frame
            episodes[episode, frame, 4 * episode : 4 * episode + 4, column : column + 4, 0] = 128
    return episodes


def as_triplet(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1


def test_the_typical_picture_is_the_floor() -> None:
    episodes = episodes_on_a_patterned_floor()
    floor = episodes[5, 0, :20]
    typical = (typical_picture(episodes) + 1) * 127.5
    np.testing.assert_allclose(typical.permute(1, 2, 0)[:20], floor, atol=1)


def test_the_square_moves_and_the_floor_does_not() -> None:
    episodes = episodes_on_a_patterned_floor()
    clips = as_triplet(episodes[0, 3:6])[None]
    moving = moving_pixels(clips, typical_picture(episodes))[0, :, 0]
    for number, frame in enumerate(range(3, 6)):
        column = 2 * frame
        assert moving[number, :4, column : column + 4].all()
    assert moving.float().mean() < 0.1


def test_all_that_moves_weighs_as_much_as_all_that_does_not() -> None:
    episodes = episodes_on_a_patterned_floor()
    weight = MotionWeight.measured(episodes, max_extra=1000.0, device="cpu")
    weights = weight(torch.cat([as_triplet(episode[5:8]) for episode in episodes]))
    moving = weights > 1
    assert weights.shape == (18, 1, SIZE, SIZE)
    assert (weights * moving).sum() == pytest.approx((weights * ~moving).sum().item(), rel=0.3)
    assert MotionWeight.measured(episodes, max_extra=3.0, device="cpu").extra == 3.0


def test_where_everything_moves_nothing_weighs_more() -> None:
    episodes = np.random.default_rng(0).integers(256, size=(4, 6, 16, 16, 3), dtype=np.uint8)
    assert MotionWeight.measured(episodes, max_extra=50.0, device="cpu").extra < 0.05
