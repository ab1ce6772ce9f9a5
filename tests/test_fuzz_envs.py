"""Random calls of environments: taken, or refused with a typed error that changes nothing.

The examples are always the same; ``make fuzz`` tries ten times as many with new random
numbers (``FUZZ=10``).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import Pair, fuzz, junk

from streamdit_gym.envs.reset_checks import MAX_SEED
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import StreamDiTError

REFERENCE = "StreamDiT/PushT-Reach-Real-v0"


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))
    return whole and least <= value <= most


def is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def is_one_of(*names: Any) -> Callable[[Any], bool]:
    return lambda value: (
        (value is None and None in names) or (isinstance(value, str) and value in names)
    )


# backend option -> (values that are right, what tells right from wrong)
OPTIONS: dict[str, tuple[list[Any], Callable[[Any], bool]]] = {
    "prompt_scope": (["chunk", "buffer"], is_one_of("chunk", "buffer")),
    "common_noise": ([True, False], is_bool),
    "deterministic": ([True, False], is_bool),
    "output": (["numpy", "torch"], is_one_of("numpy", "torch")),
    "dtype": (["float32", "bfloat16"], is_one_of("float32", "bfloat16")),
}


def are_backend_options(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return all(name in OPTIONS and OPTIONS[name][1](value[name]) for name in value)


@st.composite
def backend_options(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=2, unique=True))
    return {name: draw(st.sampled_from(OPTIONS[name][0]) | junk) for name in names}


# argument -> (values that are right, what tells right from wrong)
MODES = ("SAME_STEP", "NEXT_STEP", "DISABLED", "SameStep", "NextStep", "Disabled")
ARGUMENTS: dict[str, tuple[list[Any], Callable[[Any], bool]]] = {
    "num_envs": ([1, 2, np.int64(3)], lambda v: is_whole(v, 1, 65_536)),
    "real": ([True, False], is_bool),
    "task": ([None, "push", "reach"], is_one_of(None, "push", "reach")),
    "horizon": ([None, 1, 7], lambda v: v is None or is_whole(v, 1, 10**9)),
    "max_episode_steps": ([None, 2, 5], lambda v: v is None or is_whole(v, 1, 10**9)),
    "observation": (["frame", "latent", "state"], is_one_of("frame", "latent", "state")),
    "autoreset_mode": ([*MODES, gymnasium.vector.AutoresetMode.DISABLED], is_one_of(*MODES)),
    "actions": (["own", "text"], is_one_of("own", "text", "menu")),
    "device": (["cpu"], is_one_of("cpu")),
    "render_mode": ([None, "rgb_array"], is_one_of(None, "rgb_array", "human")),
    "partition": (
        ["reactive", "pipelined", "K4N2c1s1"],
        is_one_of("reactive", "pipelined", "K4N2c1s1"),
    ),
    "backend": ([{}, {"output": "torch"}], are_backend_options),
}


@st.composite
def constructor_arguments(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(ARGUMENTS)), min_size=1, max_size=4, unique=True))
    right = {name: st.sampled_from(ARGUMENTS[name][0]) for name in names}
    if "backend" in right:
        right["backend"] |= backend_options()
    return {name: draw(right[name] | junk) for name in names}


def are_right(arguments: dict[str, Any]) -> bool:
    """Return whether all arguments are right, each by itself and together."""
    for name, value in arguments.items():
        mode = isinstance(value, gymnasium.vector.AutoresetMode)
        if not (mode if mode and name == "autoreset_mode" else ARGUMENTS[name][1](value)):
            return False
    return not (arguments.get("real") and arguments.get("actions") == "text")


@fuzz(300)
@given(arguments=constructor_arguments())
def test_environments_are_made_or_refused(tiny_bundle: str, arguments: dict[str, Any]) -> None:
    right = are_right(arguments)
    if right and is_whole(arguments.get("num_envs", 1), 100):
        return  # allowed, and too large to be made here
    world = "PushT" if is_bool(arguments.get("real")) and arguments["real"] else tiny_bundle
    env, error = None, None
    try:
        env = StreamDiTVectorEnv(**{"world": world, **arguments})
    except StreamDiTError as refusal:
        error = refusal
    if env is None:
        assert not right, f"refused though right: {error}"
        return
    assert right, "accepted though wrong"
    observation, _ = env.reset(seed=0)
    if env.output == "numpy":
        assert env.observation_space.contains(observation)
    env.close()


@pytest.fixture(scope="module")
def generated(tiny_bundle: str) -> Pair:
    return Pair(world=tiny_bundle, autoreset_mode="SAME_STEP")


@pytest.fixture(scope="module")
def reference() -> Pair:
    return Pair(world="PushT", real=True, autoreset_mode="SAME_STEP")


@pytest.fixture(params=["generated", "reference"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def is_seed(value: Any) -> bool:
    def one(seed: Any) -> bool:
        return seed is None or is_whole(seed, 0, MAX_SEED - 1)

    if isinstance(value, np.ndarray):
        return value.shape == (2,) and value.dtype.kind in "iu" and bool((value >= 0).all())
    if isinstance(value, (list, tuple)):
        return len(value) == 2 and all(one(seed) for seed in value)
    return one(value)


seeds = (
    junk
    | st.integers(0, 5)
    | st.lists(st.integers(0, 9) | st.none(), min_size=2, max_size=2)
    | st.just(np.array([1, 2]))
)


@fuzz(40)
@given(seed=seeds)
def test_seeds_are_taken_or_refused(pair: Pair, seed: Any) -> None:
    refused = pair.unchanged_by(lambda env: env.reset(seed=seed))
    assert refused != is_seed(seed)


masks = st.sampled_from(
    [
        np.array([True, False]),
        np.array([False, False]),
        np.array([1, 0]),
        np.array([True]),
        np.array([[True, False]]),
        [True, False],
        None,
    ]
)
pictures = st.sampled_from(
    [
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((63, 64, 3), np.uint8),
        np.zeros((2, 1, 64, 64, 3), np.uint8),
        np.zeros((2, 0, 64, 64, 3), np.uint8),
        np.zeros((3, 1, 64, 64, 3), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
        "frame.png",
    ]
)


@fuzz(80)
@given(
    options=st.dictionaries(
        st.sampled_from(["init", "reset_mask", "reset_masc", "inlt", "hello", "minari_autoseed"])
        | st.text(max_size=5),
        junk | masks | pictures,
        max_size=3,
    )
    | junk
)
def test_options_are_taken_or_refused(pair: Pair, options: Any) -> None:
    refused = pair.unchanged_by(lambda env: env.reset(options=options))
    if not isinstance(options, dict) and options is not None:
        assert refused
    elif isinstance(options, dict) and ("reset_masc" in options or "inlt" in options):
        assert refused, "a near miss of an option of ours was ignored"


actions = (
    junk
    | st.lists(st.integers(-2, 10), max_size=3)
    | st.builds(
        lambda values: np.array(values), st.lists(st.integers(-2, 10), min_size=2, max_size=2)
    )
    | st.sampled_from(
        [
            np.array([1.0, 2.0]),
            np.array([True, False]),
            np.array([[1, 2]]),
            np.array(["a", "b"]),
            torch.tensor([1, 2]),
        ]
    )
)


@fuzz(80)
@given(chosen=actions)
def test_actions_are_taken_or_refused(pair: Pair, chosen: Any) -> None:
    refused = pair.unchanged_by(lambda env: env.step(chosen))
    if not refused:
        taken = np.asarray(chosen)
        assert taken.shape == (2,)
        assert taken.dtype.kind in "iu"
        assert (taken >= 0).all()
        assert (taken < 9).all()


@st.composite
def edits(draw: st.DrawFn) -> Callable[[dict[str, Any]], Any]:
    path = draw(st.lists(st.integers(0, 30), min_size=1, max_size=3))
    how = draw(st.sampled_from(["delete", "junk", "cut", "cast", "nan"]))
    value = draw(junk)

    def edit(state: dict[str, Any]) -> Any:
        state = copy.deepcopy(state)
        holder: Any = state
        for place in path[:-1]:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            inner = holder[keys[place % len(keys)]] if keys else None
            if not isinstance(inner, (dict, list)) or not inner:
                break
            holder = inner
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = keys[path[-1] % len(keys)]
        old = holder[key]
        if how == "delete":
            del holder[key]
        elif how == "junk" or not isinstance(old, torch.Tensor):
            holder[key] = value
        elif how == "cut":
            holder[key] = old[:1]
        elif how == "cast":
            holder[key] = old.to(torch.complex64)
        else:
            holder[key] = torch.full_like(old, math.nan) if old.is_floating_point() else old.float()
        return state

    return edit


@fuzz(110)
@given(edit=edits(), whole=st.booleans(), value=junk)
def test_saved_states_are_taken_or_refused(
    pair: Pair, edit: Callable[[dict[str, Any]], Any], whole: bool, value: Any
) -> None:
    state = edit(pair.env.save_state()) if whole else value
    pair.unchanged_by(lambda env: env.restore_state(state))
    observation, *_ = pair.env.step(np.array([1, 2]))
    assert pair.env.observation_space.contains(observation), (
        "an accepted state broke the environment"
    )
