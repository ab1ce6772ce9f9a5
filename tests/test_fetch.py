"""Fetch's definition: what state and scores say is what the picture shows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from support.gym_envs import needs_fetch

from streamdit_gym.definition import HasScores, Simulator
from streamdit_gym.envs.fetch.definition import ACTIONS, BLOCK, EDGE, GOAL, GRIPPER, SPEC
from streamdit_gym.envs.fetch.world import make_simulator
from streamdit_gym.envs.reacher.world import make_simulator as make_reacher

STILL = np.zeros(4, np.float32)


def started(seed: int = 0) -> tuple[Simulator, np.ndarray]:
    simulator = make_simulator()
    return simulator, simulator.reset(np.random.default_rng(seed), "any")


def read(simulator: Simulator, names: tuple[str, ...]) -> np.ndarray:
    state = simulator.state()  # type: ignore[attr-defined]
    return state[[SPEC.state_names.index(name) for name in names]]


def middle_of(mask: np.ndarray) -> np.ndarray:
    """Return the place (px) of what a mask shows; a pixel's middle is at a half."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()]) + 0.5


def near(mask: np.ndarray, place: np.ndarray, radius: float) -> np.ndarray:
    columns_and_rows = np.mgrid[:EDGE, :EDGE][::-1] + 0.5
    return mask & (np.hypot(*(columns_and_rows - place[:, None, None])) < radius)


def frames_in_turns(ways: list[tuple[Callable[[], Simulator], np.ndarray]]) -> list[np.ndarray]:
    """Return three frames of every simulator, which take turns."""
    simulators = [make() for make, _ in ways]
    rows = [[one.reset(np.random.default_rng(0), "any")] for one in simulators]
    for _ in range(2):
        for row, one, (_, action) in zip(rows, simulators, ways, strict=True):
            row.append(one.step(action))
    return [np.stack(row) for row in rows]


def after(*action: float, steps: int = 8) -> np.ndarray:
    """Return how far an action moves the gripper in the picture, px."""
    simulator, _ = started()
    begin = read(simulator, GRIPPER)
    for _ in range(steps):
        simulator.step(np.float32(action))
    return read(simulator, GRIPPER) - begin


@needs_fetch
def test_the_block_and_the_goal_are_where_the_state_says() -> None:
    num_shown = 0
    simulator, _ = started()
    for seed in range(12):
        frame = simulator.reset(np.random.default_rng(seed), "any")
        block, goal = read(simulator, BLOCK), read(simulator, GOAL)
        red, green, blue = frame.astype(int).transpose(2, 0, 1)
        if np.hypot(*(block - goal)) < 12:
            continue  # the block hides a part of the goal
        is_block = near(green > red + 40, block, 8) & (green > blue + 40)
        is_goal = near(red > green + 60, goal, 8) & (red > blue)
        assert np.abs(middle_of(is_block) - block).max() < 1.5
        assert np.abs(middle_of(is_goal) - goal).max() < 1.5
        num_shown += 1
    assert num_shown >= 6


@needs_fetch
def test_actions_do_what_their_words_say() -> None:
    right_px, down_px = 0, 1
    assert ACTIONS.names == ("depth", "side", "height", "fingers")
    assert after(0, 1, 0, 0)[right_px] > 10, "right in the picture"
    assert after(0, -1, 0, 0)[right_px] < -10
    assert after(1, 0, 0, 0)[down_px] > 5, "forward is towards the camera"
    assert after(0, 0, 1, 0)[down_px] < -5, "up"
    assert np.abs(after(*STILL)).max() < 1


@needs_fetch
def test_fingers_open_and_close() -> None:
    simulator, _ = started()
    opening = []
    for action in (0.0, 1.0, 1.0, -1.0, -1.0, -1.0):
        simulator.step(np.float32([0, 0, 0, action]))
        env = simulator._env.unwrapped  # type: ignore[attr-defined]
        opening.append(float(env.data.joint("robot0:l_gripper_finger_joint").qpos[0]))
    assert opening[2] > opening[0] + 0.01
    assert opening[5] < opening[2] - 0.01


@needs_fetch
def test_scores_are_distances_and_a_goal_reached_is_a_success() -> None:
    simulator, _ = started(1)
    assert isinstance(simulator, HasScores)
    env = simulator._env.unwrapped  # type: ignore[attr-defined]
    reach, push, reached, pushed = simulator.scores()
    assert (reach, push) < (-5, -5)
    assert (reached, pushed) == (0, 0)
    env.goal = env.data.site("robot0:grip").xpos.copy()
    assert simulator.scores()[[0, 2]].tolist() == [0, 1]
    env.goal = env.data.site("object0").xpos + np.array([0, 0, 0.03])
    np.testing.assert_allclose(simulator.scores()[[1, 3]], [-3, 1], atol=1e-4)


@needs_fetch
def test_exploration_moves_the_block_and_stays_within_bounds() -> None:
    rng = np.random.default_rng(0)
    pushed = 0
    on_table = []
    simulator, _ = started()
    env = simulator._env  # type: ignore[attr-defined]
    for seed in range(10):
        simulator.reset(np.random.default_rng(seed), "any")
        places = []
        for _ in range(50):
            action = simulator.explore(rng)  # type: ignore[attr-defined]
            assert np.abs(action).max() <= 1
            env.step(action)  # draws nothing
            places.append(env.unwrapped.data.site("object0").xpos.copy())
        on_table.append(places[-1][2] > 0.4)
        ways = [np.hypot(*(b - a)[:2]) for a, b in pairwise(places)]
        pushed += sum(ways) > 0.02
    assert pushed >= 2
    assert np.mean(on_table) > 0.8


def test_the_definition_needs_no_simulator() -> None:
    code = (
        "import sys; from streamdit_gym.envs.fetch.world import WORLD;"
        " assert WORLD.default_task == 'reach'; assert 'mujoco' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_fetch
def test_it_draws_in_any_thread_and_beside_a_simulator_of_another_size() -> None:
    ways = [(make_simulator, STILL), (make_reacher, STILL[:2])]
    alone = [frames_in_turns([way])[0] for way in ways]
    together = frames_in_turns(ways)
    with ThreadPoolExecutor(1) as thread:
        elsewhere = thread.submit(frames_in_turns, ways).result()
    for frames in (together, elsewhere):
        for one, other in zip(alone, frames, strict=True):
            assert (one == other).all()
    simulator, _ = started()
    frame = simulator.step(STILL)
    with ThreadPoolExecutor(1) as thread:
        assert np.abs(thread.submit(simulator.step, STILL).result() - frame.astype(int)).mean() < 5
    assert frame.mean() > 100
