"""Take Cover's definition: what is shown of the game, and what its state says."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from streamdit_gym.definition import Simulator
from streamdit_gym.envs.take_cover.definition import ACTIONS, FRAME_SIZE, FRAME_SKIP, SPEC
from streamdit_gym.envs.take_cover.world import make_simulator

needs_vizdoom = pytest.mark.skipif(find_spec("vizdoom") is None, reason="needs vizdoom")
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


def test_the_definition_needs_no_simulator() -> None:
    code = (
        "import sys; from streamdit_gym.envs.take_cover.world import WORLD;"
        " assert WORLD.default_task == 'survive'; assert 'vizdoom' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
