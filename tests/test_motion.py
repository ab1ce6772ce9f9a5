"""How far actions move the picture, measured before anything is recorded."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from support import box_world
from support.box_world import BOX_WORLD, record_box_world

from streamdit_gym.data.motion import Motion, changed_pixels, displacement_px, measure_motion


def square_at(column: int) -> np.ndarray:
    frame = np.full((64, 64, 3), 30, dtype=np.uint8)
    frame[20:30, column : column + 10] = 220
    return frame


@pytest.mark.parametrize("distance", [1, 2, 4])
def test_a_square_moves_as_far_as_it_does(distance: int) -> None:
    moved = displacement_px(square_at(20), square_at(20 + distance))
    assert moved == pytest.approx(distance, rel=0.3)


def test_a_still_picture_does_not_move() -> None:
    assert displacement_px(square_at(20), square_at(20)) == 0
    assert not changed_pixels(square_at(20), square_at(20)).any()


@pytest.mark.parametrize(("step_px", "frame_skip"), [(3.0, 1), (0.5, 3), (0.001, 0)])
def test_frames_should_span_more_than_a_pixel(
    step_px: float, frame_skip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_world, "MAX_STEP_PX", step_px)
    motion = measure_motion(BOX_WORLD)
    assert motion.frame_skip == frame_skip
    assert ("frame_skip of gym_world x 3" in motion.report) == (frame_skip == 3)
    assert ("stand still" in motion.report) == (frame_skip == 0)


def test_what_is_not_known_is_stored_as_null() -> None:
    motion = Motion(changed_share=0.0, displacement_px=math.nan, frame_skip=0)
    assert motion.stored()["displacement_px"] is None
    assert "nothing moves" in motion.report


def test_a_data_set_says_how_far_its_actions_move_the_picture(tmp_path: Path) -> None:
    record_box_world(tmp_path, shards=1)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["motion"]["frame_skip"] == 1
    record_box_world(tmp_path, shards=2)
    assert json.loads((tmp_path / "meta.json").read_text()) == meta, "measured once"
