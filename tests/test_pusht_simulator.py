"""The simulator of PushT: moves, walls, scores, saved states and phrases."""

from __future__ import annotations

import numpy as np
import pytest

from streamdit_gym.envs.pusht.definition import HARD_START, MOVES, SPEC, STARTS
from streamdit_gym.envs.pusht.geometry import (
    BLOCK_HULL_UNITS,
    DENT_UNITS,
    PUSHER_RADIUS_UNITS,
    TABLE_UNITS,
    UNITS_PER_PX,
    WALL_FACE_UNITS,
)
from streamdit_gym.envs.pusht.object_integrity import object_integrity
from streamdit_gym.envs.pusht.phrases import UNSEEN_PHRASES
from streamdit_gym.envs.pusht.saved_state import MAX_REPLAYED_ACTIONS
from streamdit_gym.envs.pusht.scripted_policy import nearest_move
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.errors import (
    ActionError,
    UnknownNameError,
)


def test_moves_move_the_pusher_as_they_say() -> None:
    simulator = PushTSimulator()
    rng = np.random.default_rng(3)
    for action, (x, y) in enumerate(MOVES):
        simulator.reset(rng, "uniform")
        simulator._start_from_poses([256.0, 256.0, 100.0, 420.0, 0.0])
        before = simulator.state()
        for _ in range(3):
            frame = simulator.step(action)
        moved = simulator.state()[:2] - before[:2]
        assert (np.sign(np.round(moved)) == (x, y)).all()
        assert frame.shape == (64, 64, 3)
        assert frame.dtype == np.uint8


def test_a_pressed_block_stays_whole_between_the_walls_and_stops_the_pusher() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(1)
    hull = np.array(BLOCK_HULL_UNITS)
    wall, inside = [], []
    frames = [simulator.reset(rng, "cornered")]
    for _ in range(3):
        simulator.reset(rng, "cornered")
        for _ in range(60):
            frames.append(simulator.step(simulator.explore(rng)))
            x, y, cos, sin = simulator.state()[2:]
            corners = np.array([x, y]) * UNITS_PER_PX + hull @ np.array([[cos, sin], [-sin, cos]])
            wall.append(min(corners.min(), TABLE_UNITS - corners.max()))
            inside.append(
                max(
                    PUSHER_RADIUS_UNITS - shape.point_query(tuple(simulator._pusher)).distance
                    for shape in simulator._env.block.shapes
                )
            )
    assert min(wall) > WALL_FACE_UNITS - 0.1, (
        "gym-pusht's pusher presses the T through the wall, and what is outside never comes back"
    )
    assert DENT_UNITS - 0.2 < max(inside) < DENT_UNITS + 0.1, (
        "it was pressed, and the pusher gave way"
    )
    assert object_integrity(np.stack(frames))["T"].mean() > 0.99


def test_episodes_begin_with_the_block_clear_of_walls_and_pusher() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(2)
    for start in (*STARTS, HARD_START):
        for _ in range(12):
            simulator.reset(rng, start)
            boxes = [shape.cache_bb() for shape in simulator._env.block.shapes]
            assert (
                min(
                    min(box.left, box.bottom, TABLE_UNITS - box.right, TABLE_UNITS - box.top)
                    for box in boxes
                )
                > WALL_FACE_UNITS
            )
            gap = min(
                shape.point_query(tuple(simulator._pusher)).distance
                for shape in simulator._env.block.shapes
            )
            assert gap > PUSHER_RADIUS_UNITS - 0.1


def test_a_saved_pushing_is_replayed_to_the_last_digit() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(4)
    for _ in range(8):  # in the corner of bar and stem the pusher touches two shapes
        simulator.reset(rng, HARD_START)
        for _ in range(60):
            simulator.step(simulator.explore(rng))
        other = PushTSimulator()
        other.restore(simulator.save())
        assert (other.state() == simulator.state()).all()


def test_touching_is_reaching() -> None:
    simulator = PushTSimulator()
    simulator._start_from_poses([256.0, 100.0, 256.0, 300.0, 0.0])
    assert simulator.scores()[2] == 0
    for _ in range(20):
        simulator.step(5)
    assert simulator.scores()[2] == 1
    assert simulator.scores()[0] > -0.5


def test_the_goal_pose_is_success_and_perfect_potential() -> None:
    simulator = PushTSimulator()
    simulator._start_from_poses([50.0, 50.0, 256.0, 256.0, np.pi / 4])
    _, push, _, pushed = simulator.scores()
    assert pushed == 1
    assert abs(push) < 0.1


def test_a_saved_simulator_comes_back() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(0)
    simulator.reset(rng, "near_goal")
    for action in (1, 3, 3, 5):
        simulator.step(action)
    saved = simulator.save()
    first = simulator.step(4)
    simulator.step(2)
    simulator.restore(saved)
    assert (simulator.step(4) == first).all()


def test_a_long_episode_comes_back_as_soon_as_a_short_one() -> None:
    simulator, untouched = PushTSimulator(), PushTSimulator()
    rngs = [np.random.default_rng(3) for _ in range(2)]
    for each, rng in zip((simulator, untouched), rngs, strict=True):
        each.reset(rng, "near_goal")
        for _ in range(MAX_REPLAYED_ACTIONS + 1):
            each.step(each.explore(rng))
    saved, before = simulator.save(), untouched.state()
    assert not saved[1], "nothing to play again"
    assert np.array_equal(simulator.state(), before)
    actions = [3, 3, 3, 5, 5, 5, 1, 1, 7]
    frames = [simulator.step(action) for action in actions]
    unsaved = [untouched.step(action) for action in actions]
    assert np.abs(simulator.state() - untouched.state()).max() < 0.3, "pixels; it is being pushed"
    assert np.abs(np.stack(frames).astype(int) - np.stack(unsaved)).mean() < 0.5
    untouched.restore(saved)
    assert np.array_equal([untouched.step(action) for action in actions], frames)
    for _ in range(5):
        simulator.save()
        simulator.step(2)
    assert len(simulator.save()[1]) == len(actions) + 5


def test_explorers_are_mixed_and_touch_the_block() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(1)
    touched, used = 0, set()
    for _ in range(10):
        simulator.reset(rng, "uniform")
        for _ in range(30):
            action = simulator.explore(rng)
            used.add(action)
            simulator.step(action)
            touched += simulator.scores()[2] > 0
    assert used == set(range(9))
    assert touched > 20


def test_bad_moves_and_starts_are_refused() -> None:
    simulator = PushTSimulator()
    with pytest.raises(UnknownNameError, match="near_goal"):
        simulator.reset(np.random.default_rng(0), "near-goal")
    simulator.reset(np.random.default_rng(0))
    with pytest.raises(ActionError, match=r"0\.\.8"):
        simulator.step(9)


def test_the_nearest_move_points_along_the_offset() -> None:
    assert [
        nearest_move(np.array(o)) for o in ([0.0, 0.0], [0.0, -90.0], [90.0, -90.0], [90.0, 5.0])
    ] == [0, 1, 2, 3]


def test_no_unseen_phrase_is_in_the_menu() -> None:
    spoken = {phrase for phrases in SPEC.menu for phrase in phrases}
    assert len(spoken) == sum(len(p) for p in SPEC.menu), "no phrase means two actions"
    assert not spoken & {phrase for phrases in UNSEEN_PHRASES for phrase in phrases}
    assert min(len(p) for p in SPEC.menu) >= 40


def test_another_pygame_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    monkeypatch.setattr(pygame, "IS_CE", 1, raising=False)
    with pytest.warns(UserWarning, match="pip install --force-reinstall --no-deps pygame"):
        PushTSimulator()
