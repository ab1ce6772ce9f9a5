"""Reacher's definition: what its state says is where the picture shows it."""

from __future__ import annotations

import numpy as np
import pytest
from support.gym_envs import needs_mujoco

from streamdit_gym.definition import Simulator
from streamdit_gym.envs.reacher.definition import ACTIONS, HORIZON, SPEC, TARGET, TIP
from streamdit_gym.envs.reacher.world import WORLD, make_simulator

FRAME_SECONDS = 1 / SPEC.fps


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


def redness(frame: np.ndarray) -> np.ndarray:
    red, green, blue = frame.astype(float).transpose(2, 0, 1)
    return np.maximum(0, red - np.maximum(green, blue) - 12)


@needs_mujoco
def test_tip_and_target_are_where_the_state_says() -> None:
    rng = np.random.default_rng(1)
    for seed in range(4):
        simulator, frame = started(seed)
        for _ in range(5):
            frame = simulator.step(rng.uniform(-1, 1, 2).astype(np.float32))
        target = read(simulator, TARGET)
        shoulder = np.array([32.0, 32.0])
        around = np.hypot(*(np.mgrid[:64, :64][::-1] + 0.5 - target[:, None, None])) < 4
        is_free = np.hypot(*(target - shoulder)) > 8
        if is_free:
            assert np.abs(middle_of(redness(frame) * around) - target).max() < 0.7
        ends = read(simulator, TIP)
        joints = read(simulator, ("shoulder_cos", "shoulder_sin"))
        elbow = shoulder + 12.87 * joints * [1, -1]
        assert np.hypot(*(ends - elbow)) == pytest.approx(0.11 * 128.7, abs=0.2)


@needs_mujoco
def test_exploration_is_of_every_strength_and_within_bounds() -> None:
    rng = np.random.default_rng(0)
    simulator, _ = started(0)
    means = []
    for _ in range(40):
        simulator.reset(rng, "any")
        torques = []
        for _ in range(HORIZON // 5):
            torques.append(simulator.explore(rng))  # type: ignore[attr-defined]
            simulator.step(torques[-1])
        assert np.abs(torques).max() <= max(ACTIONS.high)
        means.append(np.abs(torques).mean())
    assert min(means) < 0.1
    assert max(means) > 0.4


@needs_mujoco
def test_a_brake_slows_a_spinning_arm() -> None:
    simulator, _ = started(0)
    env = simulator._env.unwrapped  # type: ignore[attr-defined]
    explore = simulator.settings.explore  # type: ignore[attr-defined]
    explore._strength, explore._brake = 0.0, 0.1
    env.data.time = FRAME_SECONDS  # not an episode's first frame
    env.data.qvel[:2] = 5.0
    for _ in range(20):
        simulator.step(explore(env, np.random.default_rng(0)))
    assert np.abs(env.data.qvel[:2]).max() < 0.5


def test_the_definition_needs_no_simulator() -> None:
    assert WORLD.spec == SPEC
    assert (WORLD.actions.low, WORLD.actions.high) == ((-1.0, -1.0), (1.0, 1.0))  # type: ignore[union-attr]
    assert WORLD.default_task == "reach"
