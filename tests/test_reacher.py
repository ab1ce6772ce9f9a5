"""Reacher's definition: what its state says is where the picture shows it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
from support.gym_envs import needs_mujoco

from streamdit_gym.definition import Simulator
from streamdit_gym.envs.reacher.definition import ACTIONS, HORIZON, SPEC, TARGET, TIP
from streamdit_gym.envs.reacher.world import make_simulator

FRAME_SECONDS = 1 / SPEC.fps
SHOULDER = np.array([32.0, 32.0])  # px


def started(seed: int) -> tuple[Simulator, np.ndarray]:
    simulator = make_simulator()
    return simulator, simulator.reset(np.random.default_rng(seed), "any")


def read(simulator: Simulator, names: tuple[str, ...]) -> np.ndarray:
    state = simulator.state()  # type: ignore[attr-defined]
    return state[[SPEC.state_names.index(name) for name in names]]


def middle_of(weights: np.ndarray) -> np.ndarray:
    """Return the place (px) of what a picture's weights show; a pixel's middle is at a half."""
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum() + 0.5


def excess(frame: np.ndarray, channels: tuple[int, ...]) -> np.ndarray:
    """Return by how much some channels are brighter than the others, beyond the table's shades."""
    others = [channel for channel in range(3) if channel not in channels]
    brightness = frame.astype(float)
    least = brightness[..., list(channels)].min(-1)
    return np.maximum(0, least - brightness[..., others].max(-1) - 12)


def near(place: np.ndarray, radius: float) -> np.ndarray:
    columns_and_rows = np.mgrid[:64, :64][::-1] + 0.5
    return np.hypot(*(columns_and_rows - place[:, None, None])) < radius


@needs_mujoco
def test_the_target_is_where_the_state_says() -> None:
    for seed in range(4):
        simulator, frame = started(seed)
        target = read(simulator, TARGET)
        red = excess(frame, (0,)) * near(target, 4)
        assert np.abs(middle_of(red) - target).max() < 0.7


@needs_mujoco
def test_the_arm_never_hides_the_target() -> None:
    simulator, frame = started(0)
    area = (excess(frame, (0,)) > 0).sum()
    env = simulator._env.unwrapped  # type: ignore[attr-defined]
    for _ in range(12):
        posture = env.data.qpos.copy()
        tip = env.get_body_com("fingertip")[:2]
        posture[2:] = tip  # the target, below the tip
        env.set_state(posture, env.data.qvel)
        shown = simulator._frame()  # type: ignore[attr-defined]
        assert (excess(shown, (0,)) > 0).sum() > 0.6 * area
        simulator.step(np.float32([0.5, -1.0]))


@needs_mujoco
def test_the_tip_is_where_the_state_says() -> None:
    rng = np.random.default_rng(1)
    for seed in range(4):
        simulator, frame = started(seed)
        for _ in range(8):
            frame = simulator.step(rng.uniform(-1, 1, 2).astype(np.float32))
        tip = read(simulator, TIP)
        # the arm is the one dark thing: its farthest pixel from the shoulder is about its tip
        rows, columns = np.nonzero(frame.max(-1) < 110)
        places = np.stack([columns, rows], 1) + 0.5
        distances = np.hypot(*(places - SHOULDER).T)
        from_tip = np.hypot(*(places - tip).T)
        assert from_tip.min() < 1.5
        assert distances.max() < np.hypot(*(tip - SHOULDER)) + 15, "an elbow may stick out"


@needs_mujoco
def test_exploration_is_of_every_strength_and_within_bounds() -> None:
    rng = np.random.default_rng(0)
    simulator, _ = started(0)
    means = []
    env = simulator._env  # type: ignore[attr-defined]
    for seed in range(40):
        env.reset(seed=seed)
        torques = []
        for _ in range(HORIZON // 5):
            torques.append(simulator.explore(rng))  # type: ignore[attr-defined]
            env.step(torques[-1])  # draws nothing
        assert np.abs(torques).max() <= max(ACTIONS.high)
        means.append(np.abs(torques).mean())
    assert min(means) < 0.1
    assert max(means) > 0.4


def explored(steps: int, speed: float, **choices: Any) -> Any:
    """Return the arm after some steps of an exploration without random torques.

    Args:
        steps: how many.
        speed: of both joints in the beginning, rad/s.
        **choices: what the exploration has drawn for the episode.
    """
    simulator, _ = started(0)
    env = simulator._env.unwrapped  # type: ignore[attr-defined]
    explore = simulator.settings.explore  # type: ignore[attr-defined]
    for name, value in {"strength": 0.0, **choices}.items():
        setattr(explore, f"_{name}", value)
    env.data.time = FRAME_SECONDS  # not an episode's first frame
    env.data.qvel[:2] = speed
    for _ in range(steps):
        env.step(explore(env, np.random.default_rng(0)))
    return env.data


@needs_mujoco
def test_a_brake_slows_a_spinning_arm() -> None:
    arm = explored(20, speed=5.0, brake=0.1, pull=0.0)
    assert np.abs(arm.qvel[:2]).max() < 0.5


@needs_mujoco
def test_an_arm_that_reaches_for_a_posture_holds_it() -> None:
    arm = explored(40, speed=0.0, brake=0.1, pull=1.0, posture=np.array([1.0, -1.0]))
    assert np.abs(arm.qpos[:2] - [1.0, -1.0]).max() < 0.1
    assert np.abs(arm.qvel[:2]).max() < 0.2


def test_the_definition_needs_no_simulator() -> None:
    code = (
        "import sys; from streamdit_gym.envs.reacher.world import WORLD;"
        " assert WORLD.default_task == 'reach'; assert 'mujoco' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
