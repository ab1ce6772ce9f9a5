"""Gymnasium's wrappers on our environments.

What needs an environment of its own is in examples/interop/ and tests/interop/.
docs/interop.md has the table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces, wrappers
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import vector as vector_wrappers
from support.interop import HORIZON, MODES, PIPELINED, RENDERED
from support.interop import make as make
from support.interop import make_vec as make_vec

from streamdit_gym.envs.wrappers import PendingActions, VectorPendingActions

HERE = Path(__file__).resolve().parent
HALF = spaces.Box(0, 255, (32, 64, 3), np.uint8)
HALVES = spaces.Box(0, 255, (2, 32, 64, 3), np.uint8)

# name -> (settings of the environment, the wrapper)
SINGLE: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "AddRenderObservation": (RENDERED, lambda env: wrappers.AddRenderObservation(env, False)),
    "AddWhiteNoise": (RENDERED, lambda env: wrappers.AddWhiteNoise(env, 0.1)),
    "Autoreset": ({}, wrappers.Autoreset),
    "ClipReward": ({}, lambda env: wrappers.ClipReward(env, -1, 1)),
    "DelayObservation": ({}, lambda env: wrappers.DelayObservation(env, 2)),
    "DiscretizeObservation": (
        {"observation": "latent"},
        lambda env: wrappers.DiscretizeObservation(
            wrappers.TransformObservation(env, np.tanh, spaces.Box(-1, 1, (8, 8, 8))), 4, True
        ),
    ),
    "DtypeObservation": ({}, lambda env: wrappers.DtypeObservation(env, np.float32)),
    "FilterObservation": (
        PIPELINED,
        lambda env: wrappers.FilterObservation(PendingActions(env), ["frame"]),
    ),
    "FlattenObservation": ({}, wrappers.FlattenObservation),
    "FrameStackObservation": ({}, lambda env: wrappers.FrameStackObservation(env, 4)),
    "GrayscaleObservation": ({}, wrappers.GrayscaleObservation),
    "HumanRendering": (RENDERED, wrappers.HumanRendering),
    "MaxAndSkipObservation": ({}, lambda env: wrappers.MaxAndSkipObservation(env, 2)),
    "NormalizeObservation": ({}, wrappers.NormalizeObservation),
    "NormalizeReward": ({}, wrappers.NormalizeReward),
    "ObstructView": (RENDERED, lambda env: wrappers.ObstructView(env, 0.1, 8)),
    "OrderEnforcing": ({}, wrappers.OrderEnforcing),
    "PassiveEnvChecker": ({}, wrappers.PassiveEnvChecker),
    "RecordEpisodeStatistics": ({}, wrappers.RecordEpisodeStatistics),
    "RenderCollection": (RENDERED, wrappers.RenderCollection),
    "RepeatAction": ({}, lambda env: wrappers.RepeatAction(env, 2)),
    "RescaleObservation": (
        {},
        lambda env: wrappers.RescaleObservation(env, np.float32(0), np.float32(1)),
    ),
    "ReshapeObservation": ({}, lambda env: wrappers.ReshapeObservation(env, (32, 128, 3))),
    "ResizeObservation": ({}, lambda env: wrappers.ResizeObservation(env, (32, 32))),
    "StickyAction": ({}, lambda env: wrappers.StickyAction(env, 0.5)),
    "TimeAwareObservation": ({"max_episode_steps": 2}, wrappers.TimeAwareObservation),
    "TimeLimit": ({}, lambda env: wrappers.TimeLimit(env, 2)),
    "TransformAction": (
        {},
        lambda env: wrappers.TransformAction(env, lambda action: 8 - action, env.action_space),
    ),
    "TransformObservation": (
        {},
        lambda env: wrappers.TransformObservation(env, lambda frame: frame[::2], HALF),
    ),
    "TransformReward": ({}, lambda env: wrappers.TransformReward(env, lambda reward: 2 * reward)),
}

# name -> the wrapper; those of observations refuse SAME_STEP
VECTOR: dict[str, Callable[[Any], Any]] = {
    "ClipReward": lambda envs: vector_wrappers.ClipReward(envs, -1, 1),
    "DictInfoToList": vector_wrappers.DictInfoToList,
    "HumanRendering": vector_wrappers.HumanRendering,
    "NormalizeReward": vector_wrappers.NormalizeReward,
    "RecordEpisodeStatistics": vector_wrappers.RecordEpisodeStatistics,
    "TransformAction": lambda envs: vector_wrappers.TransformAction(envs, lambda acts: 8 - acts),
    "TransformReward": lambda envs: vector_wrappers.TransformReward(envs, lambda got: 2 * got),
    "VectorizeTransformAction": lambda envs: vector_wrappers.VectorizeTransformAction(
        envs,
        wrappers.TransformAction,
        func=lambda action: 8 - action,
        action_space=spaces.Discrete(9),
    ),
    "VectorizeTransformReward": lambda envs: vector_wrappers.VectorizeTransformReward(
        envs, wrappers.ClipReward, min_reward=-1, max_reward=1
    ),
}
VECTOR_OBSERVATION: dict[str, Callable[[Any], Any]] = {
    "DtypeObservation": lambda envs: vector_wrappers.DtypeObservation(envs, np.float32),
    "FlattenObservation": vector_wrappers.FlattenObservation,
    "GrayscaleObservation": vector_wrappers.GrayscaleObservation,
    "RescaleObservation": lambda envs: vector_wrappers.RescaleObservation(
        envs, np.float32(0), np.float32(1)
    ),
    "ReshapeObservation": lambda envs: vector_wrappers.ReshapeObservation(envs, (32, 128, 3)),
    "ResizeObservation": lambda envs: vector_wrappers.ResizeObservation(envs, (32, 32)),
    "TransformObservation": lambda envs: vector_wrappers.TransformObservation(
        envs, lambda frames: frames[:, ::2], HALVES, HALF
    ),
    "VectorizeTransformObservation": lambda envs: vector_wrappers.VectorizeTransformObservation(
        envs, wrappers.GrayscaleObservation
    ),
}

# tested elsewhere: FilterObservation (a dictionary), NormalizeObservation (NEXT_STEP only) below,
# RecordVideo and the array wrappers in tests/interop/ (they need moviepy, array-api-compat, jax)
ELSEWHERE = {"RecordVideo", "ArrayConversion", "NumpyToTorch"}
# these cannot work: arrays of jax, actions in Box, the Atari emulator
IMPOSSIBLE = {"JaxToNumpy", "JaxToTorch", "ClipAction", "DiscretizeAction", "RescaleAction"}
IMPOSSIBLE_SINGLE = IMPOSSIBLE | {"AtariPreprocessing"}


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def test_every_wrapper_of_gymnasium_is_accounted_for() -> None:
    single = set(wrappers.__all__) - {"vector"}
    assert single == set(SINGLE) | ELSEWHERE | IMPOSSIBLE_SINGLE
    batch = set(vector_wrappers.__all__)
    tested = set(VECTOR) | set(VECTOR_OBSERVATION) | {"FilterObservation", "NormalizeObservation"}
    assert batch == tested | ELSEWHERE | (IMPOSSIBLE - {"DiscretizeAction"})


@pytest.mark.parametrize("name", SINGLE)
def test_single_wrappers_work_over_the_end_of_an_episode(
    name: str, make: Callable[..., Any]
) -> None:
    settings, wrap = SINGLE[name]
    env = wrap(make(**settings))
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    episodes = 0
    for _ in range(2 * HORIZON + 1):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        assert observation in env.observation_space
        if terminated or truncated:
            episodes += 1
            if name != "Autoreset":
                env.reset()
    assert episodes >= 2
    env.close()


def play_over_the_end(envs: VectorEnv, mode: str) -> int:
    """Step until every row has ended at least twice; return how many episodes ended."""
    observation, _ = envs.reset(seed=0)
    ended = 0
    for _ in range(2 * HORIZON + 2):
        assert observation in envs.observation_space
        observation, _, terminated, truncated, _ = envs.step(envs.action_space.sample())
        done = terminated | truncated
        ended += int(done.sum())
        if mode == "DISABLED" and done.any():
            observation, _ = envs.reset(options={"reset_mask": done})
    envs.close()
    return ended


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", VECTOR)
def test_vector_wrappers_work_in_every_mode(
    name: str, mode: str, make_vec: Callable[..., Any]
) -> None:
    assert play_over_the_end(VECTOR[name](make_vec(mode, **RENDERED)), mode) >= 4


@pytest.mark.parametrize("mode", ["NEXT_STEP", "DISABLED"])
@pytest.mark.parametrize("name", VECTOR_OBSERVATION)
def test_vector_observation_wrappers_work_where_they_may(
    name: str, mode: str, make_vec: Callable[..., Any]
) -> None:
    assert play_over_the_end(VECTOR_OBSERVATION[name](make_vec(mode)), mode) >= 4
    with pytest.raises(ValueError, match="Expected autoreset_mode to be NEXT_STEP or DISABLED"):
        VECTOR_OBSERVATION[name](make_vec("SAME_STEP"))


def test_filters_and_running_means_work_on_batches(make_vec: Callable[..., Any]) -> None:
    filtered = vector_wrappers.FilterObservation(
        VectorPendingActions(make_vec(**PIPELINED)), ["frame"]
    )
    assert play_over_the_end(filtered, "NEXT_STEP") >= 4
    normalized = vector_wrappers.NormalizeObservation(make_vec())
    assert play_over_the_end(normalized, "NEXT_STEP") >= 4


def test_an_argument_that_we_do_not_have_is_pythons_type_error(make: Callable[..., Any]) -> None:
    """TorchRL's GymEnv offers every environment a frameskip and takes it back at these words."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'"):
        make(frameskip=4)


def test_every_program_has_its_file_and_every_example_its_program() -> None:
    specification = spec_from_file_location("interop_run", HERE / "interop" / "run.py")
    assert specification is not None
    assert specification.loader is not None
    run = module_from_spec(specification)
    sys.modules["interop_run"] = run  # dataclasses look for their module
    specification.loader.exec_module(run)
    paths = {program.path for program in run.PROGRAMS.values()}
    assert all(path.is_file() for path in paths)
    assert {*run.EXAMPLES.glob("*.py"), *(HERE / "interop").glob("check_*.py")} == paths
