"""Random actions are held for 1 to 8 frames, and draw the same numbers as a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from streamdit_gym.data.random_actions import HeldRandomActions, draw_held_action

NUM_ACTIONS = 9


def plain_loop(
    seed: int, num_rows: int, num_frames: int, draw_every_row: bool
) -> tuple[np.ndarray, float]:
    """Return the actions (frames, rows), and the generator's next number after them."""
    rng = np.random.default_rng(seed)
    held = [0] * num_rows
    left = [0] * num_rows
    frames = []
    for _ in range(num_frames):
        rows = [row for row in range(num_rows) if draw_every_row or left[row] == 0]
        actions = rng.integers(NUM_ACTIONS, size=len(rows))
        lengths = rng.integers(1, 9, size=len(rows))
        for row, action, length in zip(rows, actions, lengths, strict=True):
            if left[row] == 0:
                held[row] = int(action)
                left[row] = int(length)
        left = [number - 1 for number in left]
        frames.append(list(held))
    return np.array(frames), rng.random()


@pytest.mark.parametrize("draw_every_row", [False, True])
@pytest.mark.parametrize("num_rows", [1, 5])
def test_the_batch_draws_what_a_plain_loop_draws(num_rows: int, draw_every_row: bool) -> None:
    rng = np.random.default_rng(3)
    actions = HeldRandomActions(rng, num_rows, NUM_ACTIONS, draw_every_row=draw_every_row)
    frames = np.stack([actions.next() for _ in range(50)])
    expected, next_number = plain_loop(3, num_rows, 50, draw_every_row)
    assert np.array_equal(frames, expected)
    assert rng.random() == next_number


def test_one_row_draws_what_a_single_draw_does() -> None:
    batch = HeldRandomActions(np.random.default_rng(1), 1, NUM_ACTIONS)
    rng = np.random.default_rng(1)
    for _ in range(20):
        action, num_frames = draw_held_action(rng, NUM_ACTIONS)
        assert [int(batch.next()[0]) for _ in range(num_frames)] == [action] * num_frames


def test_actions_and_lengths_cover_their_ranges() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_held_action(rng, NUM_ACTIONS) for _ in range(500)]
    assert {action for action, _ in drawn} == set(range(NUM_ACTIONS))
    assert {num_frames for _, num_frames in drawn} == set(range(1, 9))
