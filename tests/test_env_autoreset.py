"""The three autoreset modes do what Gymnasium's own batches do."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as wrappers

from streamdit_gym.agents.agent_envs import make_venv
from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_mode_is_named_as_gymnasium_names_it(mode: AutoresetMode, tiny_bundle: str) -> None:
    for name in (mode, mode.name, mode.value):
        env = StreamDiTVectorEnv(1, world=tiny_bundle, autoreset_mode=name)
        assert env.metadata["autoreset_mode"] is mode


def test_the_default_mode_is_gymnasiums_own() -> None:
    assert (
        gymnasium.make_vec(REAL, num_envs=1).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    )
    assert StreamDiTVectorEnv.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


def told(infos: dict[str, Any]) -> dict[str, Any]:
    """Return infos without what their masks say nothing of."""
    content: dict[str, Any] = {}
    for key, value in infos.items():
        if isinstance(value, dict):
            content[key] = told(value)
        elif key.startswith("_"):
            content[key] = value
        else:
            content[key] = list(value[infos[f"_{key}"]])
    return content


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("real", [False, True])
def test_a_batch_does_what_gymnasiums_own_batch_does(
    real: bool, mode: AutoresetMode, tiny_bundle: str
) -> None:
    settings: dict[str, Any] = {"world": tiny_bundle, "backend": {"deterministic": True}}
    settings = {"real": True, "task": "reach"} if real else settings
    ours = StreamDiTVectorEnv(3, horizon=4, autoreset_mode=mode, **settings)
    theirs = SyncVectorEnv([lambda: StreamDiTEnv(horizon=4, **settings)] * 3, autoreset_mode=mode)
    assert data_equivalence(ours.reset(seed=2), theirs.reset(seed=2), exact=True)
    second = np.array([False, True, False])
    for step, actions in enumerate(np.random.default_rng(0).integers(9, size=(12, 3))):
        if step == 2:  # so that rows end at different times
            ours.reset(options={"reset_mask": second})
            theirs.reset(options={"reset_mask": second})
        given, expected = ours.step(actions), theirs.step(actions)
        assert data_equivalence(given[0], expected[0], exact=True)
        assert data_equivalence(given[1], expected[1])
        assert data_equivalence(given[2:4], expected[2:4])
        assert data_equivalence(told(given[4]), told(expected[4]))


VECTOR_WRAPPERS = {
    "statistics": wrappers.RecordEpisodeStatistics,
    "list": wrappers.DictInfoToList,
    "normalize": wrappers.NormalizeObservation,
    "rewards": wrappers.NormalizeReward,
    "clip": lambda env: wrappers.ClipReward(env, -1, 1),
    "flatten": wrappers.FlattenObservation,
    "grey": wrappers.GrayscaleObservation,
    "resize": lambda env: wrappers.ResizeObservation(env, (32, 32)),
    "reshape": lambda env: wrappers.ReshapeObservation(env, (64, 192)),
    "rescale": lambda env: wrappers.RescaleObservation(env, 0, 1),
    "dtype": lambda env: wrappers.DtypeObservation(env, np.float32),
    "observation": lambda env: wrappers.TransformObservation(env, lambda frames: 255 - frames),
    "action": lambda env: wrappers.TransformAction(env, lambda actions: (actions + 1) % 9),
}


@pytest.mark.parametrize("name", VECTOR_WRAPPERS)
def test_gymnasiums_vector_wrappers_take_the_environment(name: str, tiny_bundle: str) -> None:
    env = VECTOR_WRAPPERS[name](StreamDiTVectorEnv(2, world=tiny_bundle, horizon=2))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    for _ in range(4):
        observation, *_, info = env.step(np.array([1, 2]))
        assert env.observation_space.contains(observation)
        if name == "statistics" and "episode" in info:
            assert info["episode"]["l"].tolist() == [2, 2]


def test_make_venv_wastes_no_row(tiny_bundle: str) -> None:
    venv = make_venv(GENERATED, 2, world=tiny_bundle, horizon=2)
    venv.reset()
    ended = [venv.step(np.array([1, 1]))[2].all() for _ in range(4)]
    assert ended == [False, True, False, True]
