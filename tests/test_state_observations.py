"""Observations of states: what the world reads off its latents."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence

from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.envs.wrappers import VectorPendingActions

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


@pytest.mark.parametrize(
    "settings",
    [{}, {"real": True}, {"backend": {"deterministic": True}}, {"backend": {"output": "torch"}}],
    ids=str,
)
def test_states_are_what_the_world_reads_off_its_latents(settings: dict[str, Any]) -> None:
    world = shared_world("PushT", "cpu")
    read, latent = (
        StreamDiTVectorEnv(2, observation=kind, horizon=2, autoreset_mode="SAME_STEP", **settings)
        for kind in ("state", "latent")
    )

    def expected(latents: Any) -> torch.Tensor:
        with torch.no_grad():
            raw = world.readout.raw(torch.as_tensor(latents)[:, None])[:, 0]
        return raw.clamp(-10, 10)

    assert read.single_observation_space == gymnasium.spaces.Box(-10, 10, (10,), np.float32)
    states, latents = read.reset(seed=0)[0], latent.reset(seed=0)[0]
    for _ in range(3):
        torch.testing.assert_close(torch.as_tensor(states), expected(latents), rtol=1e-4, atol=1e-4)
        assert read.output == "torch" or read.observation_space.contains(states)
        states, _, _, _, info = read.step(np.array([1, 2]))
        latents, _, _, _, same = latent.step(np.array([1, 2]))
        if "final_obs" in info:
            torch.testing.assert_close(
                torch.as_tensor(info["final_obs"][1]),
                expected(same["final_obs"][1][None])[0],
                rtol=1e-4,
                atol=1e-4,
            )
    assert read.render()[0].shape == (64, 64, 3)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_step_reads_its_latents_once_and_shows_what_reading_again_would(
    deterministic: bool, tiny_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = {"deterministic": deterministic}
    env = StreamDiTVectorEnv(3, world=tiny_bundle, observation="state", backend=backend)
    env.reset(seed=0)
    observed_again = []
    for _ in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(env._backend, "readout", None)
            states = env.step(np.array([1, 2, 3]))[0]
        observed_again.append(env._backend.readout(env._episodes.observed).numpy())
        assert np.array_equal(states, observed_again[-1])
    assert not np.array_equal(observed_again[0], observed_again[-1])


def test_states_make_an_environment_that_gymnasium_and_sb3_accept(tiny_bundle: str) -> None:
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(
            GENERATED, world=tiny_bundle, observation="state", render_mode="rgb_array"
        )
        check_env(env.unwrapped)
        sb3_check_env(env)


def test_states_stand_beside_pending_actions_and_come_back_with_a_saved_state(
    tiny_bundle: str,
) -> None:
    base = StreamDiTVectorEnv(2, world=tiny_bundle, observation="state", partition="pipelined")
    env = VectorPendingActions(base)
    env.reset(seed=0)
    saved = base.save_state()
    first = env.step(np.array([1, 2]))[0]
    assert env.observation_space.contains(first)
    env.restore_state(saved)
    assert data_equivalence(env.step(np.array([1, 2]))[0], first, exact=True)
