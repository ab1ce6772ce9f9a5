"""How long episodes are, as Gymnasium states it and counts it."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeAwareObservation, TimeLimit
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from support.envs import endless_bundle, steps_to_truncation

import streamdit_gym  # noqa: F401  (registers the ids)

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny world in which no task is ever done: episodes end for the tested reason alone."""
    return endless_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.mark.parametrize("name", [GENERATED, REAL])
def test_the_spec_tells_how_long_episodes_are(name: str) -> None:
    horizon = gymnasium.make(name).unwrapped.task.horizon
    assert gymnasium.make(name).spec.max_episode_steps == horizon
    assert gymnasium.make(name, horizon=7).spec.max_episode_steps == 7
    assert gymnasium.make(name, max_episode_steps=9).spec.max_episode_steps == 9
    assert gymnasium.make_vec(name, num_envs=2).spec.max_episode_steps == horizon
    assert gymnasium.make_vec(name, num_envs=2, max_episode_steps=6).spec.max_episode_steps == 6
    timed = TimeAwareObservation(gymnasium.make(name, horizon=7), flatten=False)
    assert timed.observation_space["time"].high == 7
    again = gymnasium.make(gymnasium.make(name, horizon=200).spec)
    assert again.unwrapped.batch.horizon == 200
    assert again.spec.max_episode_steps == 200
    assert gymnasium.make_vec(gymnasium.make_vec(name, horizon=200).spec).unwrapped.horizon == 200


def test_checkers_stay_silent_about_an_environment_with_a_limit_of_gymnasiums() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(GENERATED, max_episode_steps=10, render_mode="rgb_array")
        check_env(env.unwrapped)
        sb3_check_env(env)


def test_a_time_limit_counts_on_from_a_restored_state(bundle: str) -> None:
    env = gymnasium.make(GENERATED, world=bundle, max_episode_steps=10)
    env.reset(seed=0)
    for _ in range(5):
        env.step(0)
    state = env.unwrapped.save_state()
    for _ in range(4):
        env.step(0)
    for _ in range(2):
        env.unwrapped.restore_state(state)
        assert steps_to_truncation(env) == 5


def test_a_time_limit_that_counts_something_else_is_warned_of(bundle: str) -> None:
    class Repeated(gymnasium.Wrapper):
        def step(self, action: Any) -> Any:
            self.env.step(action)
            return self.env.step(action)

    env = TimeLimit(Repeated(gymnasium.make(GENERATED, world=bundle)), 10)
    env.reset(seed=0)
    state = env.unwrapped.save_state()
    with pytest.warns(UserWarning, match="horizon="):
        env.unwrapped.restore_state(state)
