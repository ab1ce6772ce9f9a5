"""Settings of an environment are checked before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, get_type_hints

import gymnasium
import numpy as np
import pytest
import torch

from streamdit_gym.envs.entry_points import BatchKeywords, SingleKeywords
from streamdit_gym.envs.settings import BackendOptions, EnvSettings
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import (
    ArgumentError,
    PartitionError,
    StreamDiTError,
    UnknownArgumentError,
    UnknownNameError,
)
from streamdit_gym.presets import partition
from streamdit_gym.stream.partition import Partition

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"
WRONG_ARGUMENTS = [
    *[("num_envs", value) for value in (0, -1, True, 2.0, "2", None, [2], math.nan, 10**9, 10**40)],
    *[
        ("world", value)
        for value in (None, 5, "", " ", "a\0b", "\ud800", "x" * 300, ["PushT"], "Pusht")
    ],
    *[("task", value) for value in (5, ["push"], {}, "pushh", "")],
    *[
        (name, value)
        for name in ("horizon", "max_episode_steps")
        for value in (0, -5, math.nan, 2.5, "9", True, 10**20)
    ],
    *[
        ("partition", value)
        for value in ([], {}, None, 4, "reactve", "K4N1c1", "K4N99c1s1", "K4N1c1s" + "1" * 5000)
    ],
    *[("real", value) for value in ("False", 0, 1, None, [])],
    *[
        ("backend", {name: value})
        for name in ("common_noise", "deterministic", "compile")
        for value in ("False", 0, 1, None, [])
    ],
    *[
        ("backend", {name: value})
        for name in ("prompt_scope", "output", "dtype")
        for value in (None, 5, [], {}, "nothing", "\ud800")
    ],
    *[
        (name, value)
        for name in ("observation", "actions", "autoreset_mode")
        for value in (None, 5, [], {}, "nothing", "\ud800")
    ],
    ("autoreset_mode", True),
    ("backend", {"dtype": torch.float64}),
    ("backend", {"dtype": np.float32}),
    ("backend", {"dtyp": "float32"}),
    *[("backend", value) for value in (None, 5, "torch", [])],
    *[
        ("device", value)
        for value in (None, 5, [], "gpu", "cuda:99", "meta", torch.device("meta"), "")
    ],
    *[("render_mode", value) for value in (5, [], "rgb", "")],
    *[("backend", {"encoder": value}) for value in (5, "", [])],
]


@pytest.mark.parametrize(("name", "value"), WRONG_ARGUMENTS, ids=lambda value: repr(value)[:30])
def test_a_wrong_argument_is_an_error_that_says_what_is_allowed(
    name: str, value: Any, tiny_bundle: str
) -> None:
    with pytest.raises(StreamDiTError, match=r"(?s)given.*allowed.*remedy"):
        StreamDiTVectorEnv(**{"num_envs": 2, "world": tiny_bundle, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_envs", np.int64(2)),
        ("device", torch.device("cpu")),
        ("backend", {"dtype": torch.float32}),
        ("backend", {"dtype": torch.bfloat16}),
        ("backend", BackendOptions(dtype="bfloat16")),
        ("partition", Partition(references=4)),
        ("horizon", np.int32(9)),
    ],
    ids=str,
)
def test_other_libraries_numbers_and_objects_are_welcome(
    name: str, value: Any, tiny_bundle: str
) -> None:
    env = StreamDiTVectorEnv(**{"num_envs": 2, "world": tiny_bundle, name: value})
    env.reset(seed=0)
    assert env.step(np.array([1, 2]))[0].shape == (2, 64, 64, 3)


def test_arguments_of_a_single_environment_are_those_of_the_batch() -> None:
    with pytest.raises(ArgumentError, match="True or False"):
        gymnasium.make(GENERATED, backend={"deterministic": "False"})
    with pytest.raises(UnknownNameError, match="did you mean 'horizon'"):
        gymnasium.make(GENERATED, horizn=5)
    with pytest.raises(UnknownArgumentError, match=r"autoreset_mode(.|\n)*real(.|\n)*use make_vec"):
        gymnasium.make(GENERATED, autoreset_mode="SAME_STEP")
    with pytest.raises(UnknownArgumentError, match="use make_vec"):
        gymnasium.make(GENERATED, num_envs=2)


def test_the_keywords_that_editors_show_are_the_settings() -> None:
    settings = {field.name for field in fields(EnvSettings)} | {"max_episode_steps"}
    assert set(get_type_hints(BatchKeywords)) == settings
    assert set(get_type_hints(SingleKeywords)) == settings - {"num_envs", "autoreset_mode"}


def test_the_former_name_of_a_worlds_own_actions_works_with_a_warning(tiny_bundle: str) -> None:
    with pytest.warns(DeprecationWarning, match='actions="own"'):
        env = StreamDiTVectorEnv(2, world=tiny_bundle, actions="menu")
    assert env.action_space == StreamDiTVectorEnv(2, world=tiny_bundle).action_space
    assert env.actions == "own"


def test_a_real_simulator_takes_no_text() -> None:
    with pytest.raises(ArgumentError, match="takes no texts"):
        StreamDiTVectorEnv(1, real=True, actions="text")


@pytest.mark.parametrize("given", ["K٣N1c1s1", "K4N1c1s1\n", "K4N65c1s1", "K99999999999N1c1s1"])
def test_partitions_are_short_and_of_ascii_digits(given: str) -> None:
    with pytest.raises(PartitionError):
        partition(given)
