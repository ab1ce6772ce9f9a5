"""PushT with continuous actions: its simulator, its policies, and that control is continuous."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from streamdit_gym.envs.pusht.definition import HARD_START
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.envs.pusht_continuous.definition import ACTIONS, SPEC
from streamdit_gym.envs.pusht_continuous.policies import heading, scripted_actions
from streamdit_gym.envs.pusht_continuous.simulator import PushTContinuousSimulator
from streamdit_gym.errors import ActionError, ArgumentError
from streamdit_gym.world import SHIPPED, World

FREE_TABLE = [256.0, 256.0, 100.0, 420.0, 0.0]  # nothing is near the pusher


def displacement(action: Any, steps: int = 4) -> np.ndarray:
    """Return how far (px) an action moves the pusher on a free table."""
    simulator = PushTContinuousSimulator()
    simulator._start_from_poses(FREE_TABLE)
    before = simulator.state()[:2]
    for _ in range(steps):
        simulator.step(action)
    return simulator.state()[:2] - before


def test_displacement_is_in_proportion_to_the_action() -> None:
    whole = displacement((1.0, 0.0))
    assert whole[0] > 8
    assert whole[1] == pytest.approx(0, abs=1e-3)
    for share in (-1.0, -0.3, 0.1, 0.5):
        assert displacement((share, 0.0)) == pytest.approx(share * whole, abs=1e-3)
    assert displacement((0.4, -0.7)) == pytest.approx([0.4 * whole[0], -0.7 * whole[0]], abs=1e-3)


def test_a_full_action_along_an_axis_is_a_move_of_the_menu() -> None:
    continuous, menu = PushTContinuousSimulator(), PushTSimulator()
    frames = [each.reset(np.random.default_rng(0), "uniform") for each in (continuous, menu)]
    assert (frames[0] == frames[1]).all()
    for action, move in ((np.float32([1, 0]), 3), (np.float32([0, -1]), 1), (ACTIONS.idle, 0)):
        assert (continuous.step(action) == menu.step(move)).all()


@pytest.mark.parametrize(
    "bad", [3, [0.5], [0.0, 1.5], [np.nan, 0.0], ["left", "up"], [[0.0, 0.0]]], ids=str
)
def test_a_bad_action_is_refused_and_changes_nothing(bad: Any) -> None:
    simulator = PushTContinuousSimulator()
    simulator._start_from_poses(FREE_TABLE)
    before = simulator.state()
    with pytest.raises(ActionError, match="two numbers from -1 to 1"):
        simulator.step(bad)
    assert (simulator.state() == before).all()


@pytest.mark.parametrize(
    "bad", [[3], [[0.5]], [[0.0, 2.0]], [[np.nan, 0.0]], [["a", "b"]]], ids=str
)
def test_a_saved_state_with_other_actions_is_refused(bad: Any) -> None:
    simulator = PushTContinuousSimulator()
    simulator.reset(np.random.default_rng(0))
    with pytest.raises(ArgumentError, match=r"saved|go back"):
        simulator.restore((FREE_TABLE, bad))


def test_a_saved_pushing_is_replayed_to_the_last_digit() -> None:
    simulator, rng = PushTContinuousSimulator(), np.random.default_rng(4)
    for _ in range(4):
        simulator.reset(rng, HARD_START)
        for _ in range(60):
            simulator.step(simulator.explore(rng))
        other = PushTContinuousSimulator()
        other.restore(simulator.save())
        assert (other.state() == simulator.state()).all()


def test_exploration_shows_every_speed_in_both_dimensions() -> None:
    simulator, rng = PushTContinuousSimulator(), np.random.default_rng(5)
    actions = []
    for _ in range(20):
        simulator.reset(rng, "uniform")
        for _ in range(30):
            actions.append(simulator.explore(rng))
            simulator.step(actions[-1])
    values = np.array(actions)
    assert np.abs(values).max() <= 1
    for dimension in values.T:
        counts, _ = np.histogram(dimension, bins=8, range=(-1, 1))
        assert counts.min() > 0.04 * len(dimension)


def test_the_script_keeps_the_direction_and_arrives() -> None:
    offsets = np.array([[96.0, 48.0], [24.0, -12.0], [0.0, 0.0]])
    assert heading(offsets) == pytest.approx(np.array([[1, 0.5], [0.5, -0.25], [0, 0]]))


@pytest.mark.parametrize("task", ["reach", "push"])
def test_the_script_gains_potential(task: str) -> None:
    column = {"reach": 0, "push": 1}[task]
    gains = []
    for seed in range(6):
        simulator = PushTContinuousSimulator()
        simulator.reset(np.random.default_rng(seed), "uniform")
        before = simulator.scores()[column]
        for _ in range(48):
            simulator.step(scripted_actions(simulator.state()[None], task)[0])
        gains.append(simulator.scores()[column] - before)
    assert np.mean(gains) > 1


VALUES = np.linspace(-1, 1, 21, dtype=np.float32)
FREE_STARTS = (2, 5, 6, 15, 18, 22, 23, 27)  # seeds of starts at which the pusher has room
STEPS = 4


def pusher_place(frames: np.ndarray, dimension: int) -> np.ndarray:
    """Return where (px) the blue pusher is in frames, as the centroid of its colour."""
    colours = frames.astype(float)
    blueness = np.clip(colours[..., 2] - colours[..., 0] - 60, 0, None)  # the T's is 34
    along_axis = blueness.sum(-2 if dimension == 0 else -1)
    return (along_axis * np.arange(64)).sum(-1) / along_axis.sum(-1)


def generated_sweep(dimension: int, partition: str) -> np.ndarray:
    """Return mean displacements (px) in the shipped world, under every value."""
    simulator = PushTContinuousSimulator()
    firsts = [simulator.reset(np.random.default_rng(seed)) for seed in FREE_STARTS]
    starts = np.repeat(np.stack(firsts), len(VALUES), axis=0)
    envs = gymnasium.make_vec(
        "StreamDiT/PushT-Continuous-v0", num_envs=len(starts), partition=partition
    )
    envs.reset(seed=0, options={"init": starts[:, None]})
    actions = np.zeros((len(starts), 2), dtype=np.float32)
    actions[:, dimension] = np.tile(VALUES, len(FREE_STARTS))
    for _ in range(STEPS + envs.unwrapped.latency_frames):
        frames = envs.step(actions)[0]
    moved = pusher_place(frames, dimension) - pusher_place(starts, dimension)
    return moved.reshape(len(FREE_STARTS), len(VALUES)).mean(0)


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("partition", ["reactive", "pipelined"])
def test_control_of_the_shipped_world_is_continuous(dimension: int, partition: str) -> None:
    generated = generated_sweep(dimension, partition)
    full = displacement((1.0, 0.0), STEPS)[0]
    real = VALUES * full
    falls = np.maximum.accumulate(generated) - generated
    assert falls.max() < 0.02 * 2 * full, "monotone"
    assert np.abs(generated - real).max() < 0.1 * 2 * full


def test_the_shipped_world_shares_its_autoencoder_and_readout_with_pusht() -> None:
    folder = SHIPPED / "PushT-Continuous"
    assert not (folder / "codec.safetensors").exists()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6
    world = World.from_pretrained("PushT-Continuous")
    pusht = World.from_pretrained("PushT")
    assert world.spec == SPEC
    for name, weight in pusht.codec.state_dict().items():
        assert (world.codec.state_dict()[name] == weight).all()
