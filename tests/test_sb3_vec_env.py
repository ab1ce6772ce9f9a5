"""The adapter gives Stable-Baselines3 what it expects of a vector environment."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import GrayscaleObservation, ResizeObservation
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecFrameStack,
    VecMonitor,
    VecTransposeImage,
    VecVideoRecorder,
)

from streamdit_gym.agents.agent_envs import make_venv
from streamdit_gym.agents.features import LatentFeatures
from streamdit_gym.agents.sb3_vec_env import SB3VecEnv, ScoredActions
from streamdit_gym.agents.zoo import BatchedWorld
from streamdit_gym.errors import ArgumentError

REACH, REAL = "StreamDiT/PushT-Reach-v0", "StreamDiT/PushT-Reach-Real-v0"


def adapter(env: str = REACH, n: int = 3, **settings: object) -> SB3VecEnv:
    return SB3VecEnv(
        gymnasium.make_vec(env, num_envs=n, **{"autoreset_mode": "SAME_STEP", **settings})
    )


@pytest.mark.parametrize("env", [REACH, REAL])
def test_ended_episodes_are_told_as_sb3_wants_it(env: str) -> None:
    venv = adapter(env, horizon=3)
    venv.seed(next(s for s in range(0, 300, 3) if (_reset(venv, s) < -8).all()))
    venv.reset()
    for step in range(3):
        observation, rewards, dones, infos = venv.step(np.zeros(3, dtype=int))
        assert rewards.dtype == np.float32
        assert dones.tolist() == [step == 2] * 3
    for row, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is True
        assert info["terminal_observation"].shape == (64, 64, 3)
        assert not (info["terminal_observation"] == observation[row]).all()
        assert isinstance(info["prompt"], str)
        assert info["is_success"] is False
    kept = [info["terminal_observation"].copy() for info in infos]
    venv.step(np.zeros(3, dtype=int))
    assert all(
        (a == info["terminal_observation"]).all() for a, info in zip(kept, infos, strict=True)
    ), "own copies"


def _reset(venv: SB3VecEnv, seed: int) -> np.ndarray:
    venv.seed(seed)
    venv.reset()
    return np.array([info["potential"] for info in venv.reset_infos])


def test_success_is_no_time_limit() -> None:
    venv = adapter(REAL, n=8, horizon=64)
    venv.seed(0)
    venv.reset()
    rng = np.random.default_rng(0)
    for _ in range(200):
        _, rewards, dones, infos = venv.step(rng.integers(9, size=8))
        for row in np.flatnonzero(dones):
            if infos[row]["is_success"]:
                assert infos[row]["TimeLimit.truncated"] is False
                assert rewards[row] > 0.5, "the bonus"
                return
    raise AssertionError("no random episode touched the block")


def test_seeds_and_options_are_used_once() -> None:
    venv = adapter()
    venv.seed(5)
    first = venv.reset()
    assert not (venv.reset() == first).all()
    venv.seed(5)
    assert (venv.reset() == first).all()
    venv.set_options({"reset_mask": np.ones(3, dtype=bool)})
    venv.reset()
    venv.set_options([{}, {"reset_mask": np.ones(3, dtype=bool)}, {}])
    with pytest.raises(ArgumentError, match="other options for some rows"):
        venv.reset()


def test_attributes_methods_and_images_reach_the_batch() -> None:
    venv = adapter(render_mode="rgb_array")
    venv.reset()
    assert venv.get_attr("latency_frames") == [0, 0, 0]
    assert len(venv.env_method("save_state")) == 3
    assert [image.shape for image in venv.get_images()] == [(64, 64, 3)] * 3
    assert venv.env_is_wrapped(VecMonitor) == [False] * 3
    with pytest.raises(ArgumentError, match="share one environment"):
        venv.set_attr("x", 1, indices=[0])


def test_tensors_are_refused() -> None:
    with pytest.raises(ArgumentError, match="works on arrays"):
        adapter(backend={"output": "torch"})


def test_sb3_algorithms_run_on_frames() -> None:
    PPO("CnnPolicy", VecMonitor(adapter(n=2)), n_steps=8, batch_size=8, n_epochs=1).learn(16)
    DQN("CnnPolicy", VecFrameStack(adapter(n=2), 2), learning_starts=4, buffer_size=50).learn(12)


@pytest.mark.parametrize("env", [REACH, REAL])
def test_sb3_learns_on_latents(env: str) -> None:
    venv = VecMonitor(adapter(env, n=2, observation="latent"))
    agent = PPO(
        "MlpPolicy",
        venv,
        n_steps=8,
        batch_size=8,
        n_epochs=1,
        policy_kwargs={"features_extractor_class": LatentFeatures},
    )
    before = agent.policy.features_extractor.body[0].weight.clone()
    agent.learn(16)
    assert not (agent.policy.features_extractor.body[0].weight == before).all()


@pytest.mark.parametrize("env", [REACH, REAL])
def test_state_observations_are_the_same_in_the_step_and_in_the_terminal_one(env: str) -> None:
    venv = make_venv(env, 2, horizon=2)
    observation = venv.reset()
    assert observation.shape == (2, 10)
    assert observation.dtype == np.float32
    for _ in range(4):
        observation, _, dones, infos = venv.step(np.array([3, 3]))
        for row in np.flatnonzero(dones):
            assert infos[row]["terminal_observation"].shape == (10,)
            assert "episode" in infos[row]
    assert np.isfinite(observation).all()


def test_the_zoo_gets_one_batch_for_all_its_environments() -> None:
    venv = DummyVecEnv([lambda: gymnasium.make(REACH, horizon=3) for _ in range(3)])
    batch = BatchedWorld(venv, scored=True)
    assert batch.num_envs == 3
    assert batch.observation_space.shape == (10,)
    assert batch.action_space.shape == (9,)
    batch.seed(7)  # none of these starts is beside its T
    batch.reset()
    for step in range(3):
        _, _, dones, infos = batch.step(np.eye(9)[[1, 3, 5]])
        assert dones.tolist() == [step == 2] * 3, "the horizon given to make"
    assert [info["prompt"] for info in infos] == ["move up", "move right", "move down"]


def test_scored_actions_do_the_largest() -> None:
    plain, scored = make_venv(REAL, 2), make_venv(REAL, 2, scored=True)
    for venv in (plain, scored):
        venv.seed(3)
        venv.reset()
    numbers = np.random.default_rng(0).uniform(-1, 1, (2, 9))
    assert np.array_equal(plain.step(numbers.argmax(-1))[0], scored.step(numbers)[0])
    assert isinstance(scored, ScoredActions)


def test_wrappers_that_people_expect(tmp_path: Path) -> None:
    single = ResizeObservation(GrayscaleObservation(gymnasium.make(REACH)), (32, 32))
    assert single.reset(seed=0)[0].shape == (32, 32)
    venv = VecFrameStack(
        VecTransposeImage(VecMonitor(adapter(n=2, horizon=3, render_mode="rgb_array"))), 4
    )
    assert venv.reset().shape == (2, 12, 64, 64)
    pytest.importorskip("moviepy")
    recorder = VecVideoRecorder(
        venv, str(tmp_path), record_video_trigger=lambda step: step == 0, video_length=4
    )
    recorder.reset()
    for _ in range(5):
        recorder.step(np.zeros(2, dtype=int))
    recorder.close()
    assert list(tmp_path.glob("*.mp4"))
