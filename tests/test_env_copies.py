"""Copies of environments, by pickle and `copy.deepcopy`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import make_tiny_world
from support.envs import endless_bundle, env_in_episode, plan, steps_to_truncation

import streamdit_gym  # noqa: F401  (registers the ids)
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import BundleError

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny world in which no task is ever done: episodes end for the tested reason alone."""
    return endless_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


COPIERS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIERS)
@pytest.mark.parametrize(
    "settings",
    [{}, {"backend": {"deterministic": True}, "observation": "latent"}, {"real": True}],
    ids=str,
)
def test_a_copied_batch_goes_on_as_the_original(settings: dict, way: str, bundle: str) -> None:
    env = StreamDiTVectorEnv(
        2, **({"world": bundle} | settings if "real" not in settings else settings)
    )
    env.action_space.seed(4)
    early = COPIERS[way](env)
    assert (early.reset()[0] == env.reset()[0]).all(), "before the first reset: the same generators"
    env.step(np.array([1, 2]))
    late = COPIERS[way](env)
    assert (late.action_space.sample() == env.action_space.sample()).all()
    for actions in plan(2, 4):
        one, two = env.step(actions), late.step(actions)
        assert (one[0] == two[0]).all()
        assert (one[1] == two[1]).all()
    assert (late.reset()[0] == env.reset()[0]).all()
    env.close()
    assert COPIERS[way](env).closed


@pytest.mark.parametrize("way", COPIERS)
@pytest.mark.parametrize("name", [GENERATED, REAL])
def test_a_copied_environment_goes_on_in_its_wrappers(name: str, way: str) -> None:
    env = gymnasium.make(name, max_episode_steps=5, render_mode="human")
    env.reset(seed=0)
    env.step(1)
    again = COPIERS[way](env)
    assert again.spec == env.spec
    assert again.unwrapped is not env.unwrapped
    for action in (2, 3):
        assert (again.step(action)[0] == env.step(action)[0]).all()
    assert steps_to_truncation(again) == 2


def test_a_pickled_environment_carries_no_weights() -> None:
    env = gymnasium.make(GENERATED)
    env.reset(seed=0)
    assert len(pickle.dumps(env)) < 1e6


def test_a_copy_refuses_a_world_that_has_changed(tmp_path: Path) -> None:
    world = make_tiny_world()
    world.save_pretrained(tmp_path / "world")
    env = env_in_episode(world=str(tmp_path / "world"))
    pickled = pickle.dumps(env)
    world.readout.out.bias.data += 1
    world.save_pretrained(tmp_path / "world")
    shared_world.cache_clear()
    with pytest.raises(BundleError, match="other weights"):
        pickle.loads(pickled)
    shared_world.cache_clear()
