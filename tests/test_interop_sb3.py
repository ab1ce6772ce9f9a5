"""Stable-Baselines3 on our environments, and on whatever wraps them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.wrappers import vector as vector_wrappers
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from support.interop import HORIZON, MODES, PIPELINED, RENDERED
from support.interop import make as make
from support.interop import make_vec as make_vec

from streamdit_gym.agents.sb3_vec_env import SB3VecEnv, ScoredActions
from streamdit_gym.envs.wrappers import PendingActions, VectorPendingActions
from streamdit_gym.errors import ArgumentError


@pytest.mark.parametrize("mode", MODES)
def test_the_adapter_resets_ended_rows_at_once_in_every_mode(
    mode: str, make_vec: Callable[..., Any]
) -> None:
    venv = SB3VecEnv(make_vec(mode, num_envs=3))
    venv.seed(5)
    venv.reset()
    for step in range(1, 3 * HORIZON + 1):
        observation, rewards, dones, infos = venv.step(np.full(3, step % 9))
        assert rewards.dtype == np.float32
        assert dones.all() == (step % HORIZON == 0)
        for row in np.flatnonzero(dones):
            assert infos[row]["TimeLimit.truncated"] is True
            assert infos[row]["terminal_observation"] in venv.observation_space
            assert not np.array_equal(infos[row]["terminal_observation"], observation[row])
            assert infos[row]["is_success"] is False
            assert infos[row]["prompt"] == venv.get_attr("world_spec")[0].menu[step % 9][0]
            assert venv.reset_infos[row]["prompt"] == venv.get_attr("world_spec")[0].menu[0][0]


def test_all_modes_give_sb3_the_same(make_vec: Callable[..., Any]) -> None:
    def transitions(mode: str) -> list[Any]:
        venv = SB3VecEnv(make_vec(mode, num_envs=2))
        venv.seed(7)
        seen = [venv.reset()]
        for step in range(2 * HORIZON + 1):
            observation, rewards, dones, infos = venv.step(np.array([step % 9, 3]))
            last = [info.get("terminal_observation") for info in infos]
            seen += [observation, rewards, dones, *(item for item in last if item is not None)]
        return seen

    first, *others = [transitions(mode) for mode in MODES]
    for other in others:
        assert len(other) == len(first)
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("mode", ["NEXT_STEP", "DISABLED"])
def test_rows_that_go_on_are_left_alone_when_others_are_reset(
    mode: str, make_vec: Callable[..., Any]
) -> None:
    venv = SB3VecEnv(VectorPendingActions(make_vec(mode, num_envs=3, horizon=2, **PIPELINED)))
    venv.seed(0)
    venv.reset()
    venv.step(np.array([1, 2, 3]))
    venv.env.reset(options={"reset_mask": np.array([False, True, False])})
    observation, _, dones, infos = venv.step(np.array([4, 5, 6]))
    assert dones.tolist() == [True, False, True]
    assert observation["pending"].tolist() == [[0, 0, 0], [0, 0, 5], [0, 0, 0]]
    assert infos[0]["terminal_observation"]["pending"].tolist() == [0, 1, 4]
    kept = observation["frame"].copy()
    venv.step(np.zeros(3, dtype=int))
    assert np.array_equal(observation["frame"], kept), "a copy"
    *_, dones, _ = venv.step(np.zeros(3, dtype=int))
    assert dones.tolist() == [True, False, True]


@pytest.mark.parametrize("mode", MODES)
def test_episode_statistics_of_a_wrapper_become_plain_numbers(
    mode: str, make_vec: Callable[..., Any]
) -> None:
    statistics = vector_wrappers.RecordEpisodeStatistics
    venv = SB3VecEnv(vector_wrappers.TransformReward(statistics(make_vec(mode)), np.negative))
    venv.reset()
    total = np.zeros(2)
    for _ in range(2 * HORIZON):
        _, rewards, dones, infos = venv.step(np.full(2, 3))
        total -= rewards
        for row, info in enumerate(infos):
            assert ("episode" in info) == dones[row]
            assert "episode" not in venv.reset_infos[row]
            if dones[row]:
                assert {key: type(value) for key, value in info["episode"].items()} == {
                    "r": float,
                    "l": int,
                    "t": float,
                }
                assert info["episode"]["l"] == HORIZON
                assert info["episode"]["r"] == pytest.approx(total[row])
        total[dones] = 0


class TellsEverything(VectorWrapper):
    """Adds infos of every shape that a wrapper may give."""

    def step(self, actions: Any) -> Any:
        *results, infos = self.env.step(actions)
        infos["nested"] = {
            "deep": {"x": np.arange(2)},
            "_deep": np.array([True, False]),
            "y": [5, 6],
        }
        infos["whole"] = 0.25
        infos["name"] = "same for all"
        infos["scalar"] = np.array(3)
        infos["vectors"] = np.ones((2, 4))
        infos["final_score"] = np.array([1.0, 2.0])
        return *results, infos


@pytest.mark.parametrize("mode", MODES)
def test_infos_of_every_shape_are_taken_apart(mode: str, make_vec: Callable[..., Any]) -> None:
    venv = SB3VecEnv(TellsEverything(make_vec(mode)))
    venv.reset()
    for step in range(HORIZON + 1):
        *_, dones, infos = venv.step(np.zeros(2, dtype=int))
        assert dones.all() == (step == HORIZON - 1)
        assert infos[0]["nested"] == {"deep": {"x": 0}, "y": 5}
        assert infos[1]["nested"] == {"y": 6}
        for row, info in enumerate(infos):
            assert info["whole"] == 0.25
            assert info["name"] == "same for all"
            assert info["scalar"] == 3
            assert info["final_score"] == row + 1
            assert info["vectors"].shape == (4,)
            assert info["vectors"].base is None, "a copy"


@pytest.mark.parametrize("mode", MODES)
def test_lists_of_infos_are_taken_too(mode: str, make_vec: Callable[..., Any]) -> None:
    venv = SB3VecEnv(vector_wrappers.DictInfoToList(make_vec(mode)))
    venv.reset()
    for _ in range(HORIZON):
        *_, dones, infos = venv.step(np.zeros(2, dtype=int))
    assert dones.all()
    for info in infos:
        assert type(info["potential"]) is float
        assert info["terminal_observation"].shape == (64, 64, 3)
        assert not {"final_obs", "final_info"} & set(info)


@pytest.mark.parametrize("mode", MODES)
def test_gymnasiums_own_batches_are_adapted(mode: str, make: Callable[..., Any]) -> None:
    venv = SB3VecEnv(gymnasium.vector.SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode[mode]))
    venv.reset()
    for _ in range(HORIZON):
        *_, dones, infos = venv.step(np.zeros(2, dtype=int))
    assert dones.all()
    assert all(info["terminal_observation"].shape == (64, 64, 3) for info in infos)


def test_an_environment_that_hides_its_mode_is_refused(make_vec: Callable[..., Any]) -> None:
    envs = make_vec()
    envs.metadata = {**envs.metadata, "autoreset_mode": "NextStep"}
    with pytest.raises(ArgumentError, match="how it resets"):
        SB3VecEnv(envs)


def test_attributes_are_found_under_wrappers(make_vec: Callable[..., Any]) -> None:
    statistics = vector_wrappers.RecordEpisodeStatistics
    venv = SB3VecEnv(vector_wrappers.TransformReward(statistics(make_vec()), np.negative))
    venv.reset()
    assert venv.get_attr("latency_frames") == [0, 0]
    assert venv.get_attr("episode_count") == [0, 0]
    assert len(venv.env_method("save_state")) == 2
    assert venv.env_is_wrapped(statistics) == [True, True]
    venv.set_attr("horizon", 7)
    assert venv.env.unwrapped.horizon == 7
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        venv.get_attr("nothing")


def test_films_are_told_the_worlds_frame_rate(make_vec: Callable[..., Any]) -> None:
    venv = SB3VecEnv(make_vec(**RENDERED))
    assert venv.metadata["render_fps"] == 10
    assert "rgb_array" in venv.metadata["render_modes"]
    venv.reset()
    assert venv.render().shape[-1] == 3


def test_sb3s_own_check_passes(make: Callable[..., Any]) -> None:
    check_env(make())
    check_env(PendingActions(make(**PIPELINED)))


@pytest.mark.parametrize("mode", MODES)
def test_sb3_wraps_and_learns_in_every_mode(mode: str, make_vec: Callable[..., Any]) -> None:
    stacked = VecFrameStack(VecNormalize(VecMonitor(SB3VecEnv(make_vec(mode))), norm_obs=False), 2)
    quick = {"policy_kwargs": {"net_arch": [8], "features_extractor_kwargs": {"features_dim": 8}}}
    agent = PPO("CnnPolicy", stacked, n_steps=8, batch_size=8, n_epochs=1, **quick)
    agent.learn(16)
    assert [episode["l"] for episode in agent.ep_info_buffer] == [HORIZON] * 4


def test_sb3s_off_policy_algorithms_learn(make_vec: Callable[..., Any]) -> None:
    few = {"learning_starts": 4, "buffer_size": 50, "batch_size": 4}
    DQN("CnnPolicy", SB3VecEnv(make_vec()), **few).learn(12)
    latents = VecNormalize(ScoredActions(SB3VecEnv(make_vec(observation="latent"))))
    SAC("MlpPolicy", latents, policy_kwargs={"net_arch": [8]}, **few).learn(12)


def test_sb3_evaluates_and_counts_successes(
    make: Callable[..., Any], make_vec: Callable[..., Any], tmp_path: Path
) -> None:
    venv = VecMonitor(SB3VecEnv(make_vec()))
    quick = {"policy_kwargs": {"net_arch": [8], "features_extractor_kwargs": {"features_dim": 8}}}
    agent = PPO("CnnPolicy", venv, n_steps=8, batch_size=8, n_epochs=1, **quick)
    _, lengths = evaluate_policy(agent, venv, n_eval_episodes=4, return_episode_rewards=True)
    assert lengths == [HORIZON] * 4
    test = VecTransposeImage(VecMonitor(SB3VecEnv(make_vec("DISABLED"))))
    callback = EvalCallback(test, n_eval_episodes=4, eval_freq=8, log_path=tmp_path, verbose=0)
    agent.learn(16, callback=callback)
    with np.load(tmp_path / "evaluations.npz") as results:
        assert results["successes"].shape == (1, 4)
    rewards, _ = evaluate_policy(agent, DummyVecEnv([make] * 2), 2, warn=False)
    assert np.isfinite(rewards)
