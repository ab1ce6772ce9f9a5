"""Take Cover's definition: what is shown of the game, and what its state says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.gym_envs import needs_vizdoom

from streamdit_gym.definition import Simulator
from streamdit_gym.envs.take_cover.definition import (
    ACTIONS,
    FRAME_SIZE,
    FRAME_SKIP,
    SPEC,
    UNDECIDED_STEPS,
)
from streamdit_gym.envs.take_cover.marks import fireball_outcome, fireballs
from streamdit_gym.envs.take_cover.world import make_simulator
from streamdit_gym.errors import NotReadyError

STAY, RIGHT, LEFT = range(3)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the game writes its settings into the working folder


def started(seed: int = 0) -> tuple[Simulator, np.ndarray]:
    simulator = make_simulator()
    return simulator, simulator.reset(np.random.default_rng(seed), "any")


def across_after(action: int, steps: int = 8) -> float:
    """Return where the player stands after some steps, from where it began."""
    simulator, _ = started()
    begin = simulator.state()[0]  # type: ignore[attr-defined]
    for _ in range(steps):
        simulator.step(action)
    end = simulator.state()[0]  # type: ignore[attr-defined]
    simulator.close()
    return float(end - begin)


@needs_vizdoom
def test_frames_have_the_worlds_size_and_show_the_middle_of_the_picture() -> None:
    simulator, frame = started()
    assert frame.shape == (*FRAME_SIZE, 3)
    assert frame.dtype == np.uint8
    env = simulator._env.unwrapped  # type: ignore[attr-defined]
    screen = env.state.screen_buffer
    assert screen.shape == (240, 320, 3)
    middle = screen[88:168].mean((0, 1))
    assert np.abs(frame.mean((0, 1)) - middle).max() < 2


@needs_vizdoom
def test_actions_do_what_their_words_say() -> None:
    right, left, stay = across_after(RIGHT), across_after(LEFT), across_after(STAY)
    assert abs(stay) < 1
    assert min(abs(right), abs(left)) > 20
    assert right * left < 0
    assert [names[0] for names in ACTIONS.phrases] == ["stay", "step right", "step left"]
    simulator, first = started()
    for _ in range(4):
        shown = simulator.step(RIGHT)
    # what stands in the room moves to the left of the picture when the player steps right
    shifts = range(-12, 13)
    errors = [
        np.abs(np.roll(first, shift, 1)[:, 16:-16].astype(int) - shown[:, 16:-16]).mean()
        for shift in shifts
    ]
    assert shifts[int(np.argmin(errors))] < 0


@needs_vizdoom
def test_every_tic_alive_earns_one_until_the_player_dies() -> None:
    simulator, _ = started(1)
    for _ in range(600):
        simulator.step(STAY)
        reward, terminated = simulator.outcome()  # type: ignore[attr-defined]
        if terminated:
            break
        assert reward == FRAME_SKIP
    assert terminated, "somebody who stands still is hit"
    assert simulator.state()[SPEC.state_names.index("health")] <= 0  # type: ignore[attr-defined]


@needs_vizdoom
@pytest.mark.parametrize("action", [STAY, RIGHT])
def test_no_frame_depends_on_the_seed_before_monsters_act(action: int) -> None:
    simulator = make_simulator()
    shown = []
    for seed in range(40):
        first = simulator.reset(np.random.default_rng(seed), "any")
        shown.append([first] + [simulator.step(action) for _ in range(UNDECIDED_STEPS)])
    assert all(np.array_equal(frames, shown[0]) for frames in shown)


@needs_vizdoom
def test_another_seed_is_another_future() -> None:
    futures = []
    for seed in range(3):
        simulator, _ = started()
        for _ in range(UNDECIDED_STEPS):
            simulator.step(STAY)
        simulator.reseed(np.random.default_rng(seed))  # type: ignore[attr-defined]
        saved = simulator.save()  # type: ignore[attr-defined]
        futures.append([simulator.step(STAY) for _ in range(16)])
        simulator.restore(saved)  # type: ignore[attr-defined]
        assert np.array_equal([simulator.step(STAY) for _ in range(16)], futures[-1])
    assert not np.array_equal(futures[0], futures[1])
    assert not np.array_equal(futures[1], futures[2])


@needs_vizdoom
def test_reseeding_is_refused_once_frames_depend_on_the_seed() -> None:
    simulator = make_simulator()
    with pytest.raises(NotReadyError, match="no reset"):
        simulator.reseed(np.random.default_rng(0))  # type: ignore[attr-defined]
    simulator.reset(np.random.default_rng(0), "any")
    for _ in range(UNDECIDED_STEPS + 1):
        simulator.step(STAY)
    with pytest.raises(NotReadyError, match="7 steps after a reset"):
        simulator.reseed(np.random.default_rng(0))  # type: ignore[attr-defined]


def painted(*places: tuple[int, int], size: int = 3) -> np.ndarray:
    """Return a dim frame with bright squares whose upper left corners are at (column, row)."""
    frame = np.full((*FRAME_SIZE, 3), 90, np.uint8)
    for column, row in places:
        frame[row : row + size, column : column + size] = (250, 220, 110)
    return frame


def test_fireballs_are_found_where_they_are() -> None:
    found = fireballs(painted((10, 12), (100, 20)))
    assert sorted(fireball.x for fireball in found) == [11.5, 101.5]
    assert {fireball.size for fireball in found} == {9}
    assert fireballs(painted((50, 10), size=1)) == [], "a pixel is none"
    assert fireballs(painted()) == []


def test_an_outcome_is_the_third_of_the_largest_fireball() -> None:
    small = painted((10, 12))
    assert fireball_outcome(np.stack([small, painted()])) == "none"
    assert fireball_outcome(np.stack([painted(), small])) == "left"
    large = small.copy()
    large[5:20, 60:70] = (250, 220, 110)
    assert fireball_outcome(large[None]) == "middle"
    assert fireball_outcome(painted((120, 3))[None]) == "right"
    # the mean of futures with a fireball here, there or nowhere shows none
    mean = np.mean([small, painted((60, 12)), painted(), painted()], 0).astype(np.uint8)
    assert fireball_outcome(mean[None]) == "none"


@needs_vizdoom
def test_real_fireballs_are_found() -> None:
    simulator, _ = started(1)
    counts = []
    for _ in range(60):
        counts.append(len(fireballs(simulator.step(STAY))))
        if simulator.outcome().terminated:  # type: ignore[attr-defined]
            break
    assert sum(counts[:UNDECIDED_STEPS]) == 0, "monsters stand still"
    assert max(counts) > 0


def test_the_definition_needs_no_simulator() -> None:
    code = (
        "import sys; from streamdit_gym.envs.take_cover.world import WORLD;"
        " assert WORLD.default_task == 'survive'; assert not {'vizdoom', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
