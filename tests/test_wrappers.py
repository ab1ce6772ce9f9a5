"""Wrappers of environments, and the arguments of earlier versions that they have replaced."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.wrappers import TransformReward

from streamdit_gym.envs.settings import BackendOptions, EnvSettings
from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.wrappers import (
    PendingActions,
    SelfConsistencyPenalty,
    VectorPendingActions,
    VectorSelfConsistencyPenalty,
)
from streamdit_gym.errors import ArgumentError

ID = "StreamDiT/PushT-v0"
MODES = ["NEXT_STEP", "SAME_STEP", "DISABLED"]


def vector_env(bundle: str, **settings: Any) -> StreamDiTVectorEnv:
    return StreamDiTVectorEnv(2, world=bundle, **{"partition": "pipelined", **settings})


def single_env(bundle: str, **settings: Any) -> StreamDiTEnv:
    return StreamDiTEnv(world=bundle, **{"partition": "pipelined", **settings})


def test_an_environment_has_few_settings() -> None:
    assert len(vars(EnvSettings())) == 12
    assert len(vars(BackendOptions())) == 8


# ------------------------------------------------------------------------------ pending actions


def test_pending_actions_shift_by_one_a_step(tiny_bundle: str) -> None:
    env = PendingActions(single_env(tiny_bundle))
    observation, _ = env.reset(seed=0)
    assert observation["pending"].tolist() == [0, 0, 0]
    for action in (1, 2, 3, 4):
        observation = env.step(action)[0]
    assert observation["pending"].tolist() == [2, 3, 4]
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_a_final_observation_holds_the_last_action(output: str, tiny_bundle: str) -> None:
    options = {"output": output}
    base = vector_env(tiny_bundle, horizon=2, autoreset_mode="SAME_STEP", backend=options)
    env = VectorPendingActions(base)
    env.reset(seed=0)
    env.step(np.array([1, 2]))
    observation, *_, info = env.step(np.array([3, 4]))
    assert observation["pending"].tolist() == [[0, 0, 0], [0, 0, 0]]
    final = info["final_obs"]
    pending = final["pending"] if output == "torch" else [row["pending"] for row in final]
    assert [list(map(int, row)) for row in pending] == [[0, 1, 3], [0, 2, 4]]


def test_next_step_starts_with_nothing_pending(tiny_bundle: str) -> None:
    env = VectorPendingActions(vector_env(tiny_bundle, horizon=1))
    env.reset(seed=0)
    assert env.step(np.array([3, 4]))[0]["pending"].tolist() == [[0, 0, 3], [0, 0, 4]]
    assert env.step(np.array([5, 6]))[0]["pending"].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_pending_actions_come_back_with_a_saved_state(tiny_bundle: str) -> None:
    env = VectorPendingActions(vector_env(tiny_bundle))
    env.reset(seed=0)
    observation = env.step(np.array([3, 4]))[0]
    saved = env.unwrapped.save_state()
    env.step(np.array([5, 6]))
    assert data_equivalence(env.restore_state(saved), observation, exact=True)


def test_pending_actions_of_torch_are_tensors(tiny_bundle: str) -> None:
    env = PendingActions(single_env(tiny_bundle, backend={"output": "torch"}))
    observation, _ = env.reset(seed=0)
    assert isinstance(observation["pending"], torch.Tensor)


@pytest.mark.parametrize("settings", [{"partition": "reactive"}, {"actions": "text"}], ids=str)
def test_where_nothing_is_ever_pending_there_is_no_wrapper(
    settings: dict[str, str], tiny_bundle: str
) -> None:
    with pytest.raises(ArgumentError, match="no action is ever pending"):
        VectorPendingActions(vector_env(tiny_bundle, **settings))
    with pytest.raises(ArgumentError, match="no action is ever pending"):
        PendingActions(single_env(tiny_bundle, **settings))


# ------------------------------------------------------------------------ self-consistency penalty


@pytest.mark.parametrize("mode", MODES)
def test_the_penalty_is_the_error_of_the_frame_that_was_rewarded(
    mode: str, tiny_bundle: str
) -> None:
    settings = {"horizon": 3, "autoreset_mode": mode, "partition": "reactive"}
    plain = vector_env(tiny_bundle, **settings)
    penalised = VectorSelfConsistencyPenalty(vector_env(tiny_bundle, **settings), 2.0)
    plain.reset(seed=0)
    penalised.reset(seed=0)
    for _ in range(3):
        rewards = plain.step(np.array([1, 2]))[1]
        _, less, _, _, info = penalised.step(np.array([1, 2]))
        errors = info.get("final_info", info)["self_consistency_error"]
        assert (errors > 0).all()
        assert np.array_equal(less, (rewards.astype("f4") - np.float32(2) * errors.astype("f4")))


def test_a_single_environments_penalty_is_a_rows(tiny_bundle: str) -> None:
    batch = VectorSelfConsistencyPenalty(
        StreamDiTVectorEnv(1, world=tiny_bundle, autoreset_mode="DISABLED"), 0.5
    )
    single = SelfConsistencyPenalty(StreamDiTEnv(world=tiny_bundle), 0.5)
    batch.reset(seed=0)
    single.reset(seed=0)
    for action in (1, 2):
        assert single.step(action)[1] == batch.step(np.array([action]))[1][0]


def test_a_reference_simulator_agrees_with_itself() -> None:
    pytest.importorskip("gym_pusht")
    env = SelfConsistencyPenalty(StreamDiTEnv(real=True), 1e6)
    _, info = env.reset(seed=0)
    assert info["self_consistency_error"] == 0
    assert abs(env.step(1)[1]) < 10


@pytest.mark.parametrize("penalty", [np.nan, np.inf, "1", True, 1e30, -5, None])
def test_a_penalty_is_a_finite_number(penalty: Any, tiny_bundle: str) -> None:
    with pytest.raises(ArgumentError, match="penalty"):
        SelfConsistencyPenalty(StreamDiTEnv(world=tiny_bundle), penalty)


def test_copies_go_on_measuring(tiny_bundle: str) -> None:
    env = VectorSelfConsistencyPenalty(vector_env(tiny_bundle), 0.5)
    env.reset(seed=0)
    other = copy.deepcopy(env)
    again = pickle.loads(pickle.dumps(env))
    expected = env.step(np.array([1, 2]))
    for each in (other, again):
        assert data_equivalence(each.step(np.array([1, 2])), expected, exact=True)


# -------------------------------------------------------------------------------------- together


def test_wrappers_go_into_each_other_and_into_gymnasiums(tiny_bundle: str) -> None:
    inner = SelfConsistencyPenalty(TransformReward(single_env(tiny_bundle), lambda r: 2 * r), 0.5)
    env = PendingActions(inner)
    _, info = env.reset(seed=0)
    observation, reward, _, _, _ = env.step(1)
    assert isinstance(reward, float)
    assert set(observation) == {"frame", "pending"}
    assert "self_consistency_error" in info


def test_a_spec_remembers_wrappers(tiny_bundle: str) -> None:
    made = gymnasium.make(ID, world=tiny_bundle, partition="pipelined")
    env = PendingActions(SelfConsistencyPenalty(made, 0.5))
    again = gymnasium.make(env.spec)
    assert isinstance(again, PendingActions)
    assert again.env._penalty == 0.5


@pytest.mark.parametrize("wrapper", [VectorPendingActions, VectorSelfConsistencyPenalty])
def test_another_environment_is_refused(wrapper: Any) -> None:
    with pytest.raises(ArgumentError, match="needs a StreamDiT environment"):
        wrapper(gymnasium.make_vec("CartPole-v1", num_envs=1))


# -------------------------------------------------------------------- arguments of earlier versions

OLD_OPTIONS = {
    "deterministic": True,
    "common_noise": True,
    "prompt_scope": "buffer",
    "output": "torch",
    "dtype": "bfloat16",
    "threads": 1,
}


@pytest.mark.parametrize("name", OLD_OPTIONS)
def test_an_old_argument_is_a_backend_option_now(name: str, tiny_bundle: str) -> None:
    value = OLD_OPTIONS[name]
    with pytest.warns(DeprecationWarning, match=f"argument {name} .* use backend=.*{name}"):
        old: Any = gymnasium.make_vec(ID, num_envs=2, world=tiny_bundle, **{name: value})
    new: Any = gymnasium.make_vec(ID, num_envs=2, world=tiny_bundle, backend={name: value})
    assert old.reset(seed=0)[0].shape == new.reset(seed=0)[0].shape
    steps = [env.step(np.array([1, 2]))[0] for env in (old, new)]
    assert np.array_equal(*map(np.asarray, steps))


def test_an_old_argument_joins_the_options_that_are_given(tiny_bundle: str) -> None:
    options = BackendOptions(output="torch")
    with pytest.warns(DeprecationWarning, match="threads"):
        env = gymnasium.make(ID, world=tiny_bundle, threads=1, backend=options)
    assert env.unwrapped.batch.output == "torch"


def test_eyes_are_an_encoder_now(tiny_bundle: str) -> None:
    pytest.importorskip("gym_pusht")
    name = "StreamDiT/PushT-Real-v0"
    with pytest.warns(DeprecationWarning, match="use backend={'encoder': ...}"):
        old = gymnasium.make(name, observation="latent", eyes=tiny_bundle)
    new = gymnasium.make(name, observation="latent", backend={"encoder": tiny_bundle})
    assert np.array_equal(old.reset(seed=0)[0], new.reset(seed=0)[0])


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
def test_pending_actions_are_a_wrapper_now(make: Any, tiny_bundle: str) -> None:
    settings = {"world": tiny_bundle, "partition": "pipelined"}
    with pytest.warns(DeprecationWarning, match=r"wrappers\.PendingActions"):
        env = make(ID, pending_actions=True, **settings)
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"frame", "pending"}


@pytest.mark.filterwarnings("ignore:the argument pending_actions")
def test_a_spec_with_an_old_argument_wraps_once(tiny_bundle: str) -> None:
    env = gymnasium.make(ID, pending_actions=True, world=tiny_bundle, partition="pipelined")
    again = gymnasium.make(env.spec)
    assert again.observation_space == env.observation_space


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
@pytest.mark.parametrize(
    ("argument", "keys"),
    [
        ("self_consistency_penalty", {"self_consistency_error"}),
        ("disagreement_penalty", {"self_consistency_error", "disagreement"}),
    ],
)
def test_the_penalty_is_a_wrapper_now(
    make: Any, argument: str, keys: set[str], tiny_bundle: str
) -> None:
    with pytest.warns(DeprecationWarning, match=r"wrappers\.SelfConsistencyPenalty"):
        env = make(ID, world=tiny_bundle, **{argument: 0.5})
    _, info = env.reset(seed=0)
    assert keys <= set(info)
    assert ("disagreement" in info) == ("disagreement" in keys)
    *_, info = env.step(env.action_space.sample())
    assert len({float(np.max(info[key])) for key in keys}) == 1


def test_the_old_key_is_in_final_infos_too(tiny_bundle: str) -> None:
    with pytest.warns(DeprecationWarning, match="disagreement_penalty"):
        env = gymnasium.make_vec(
            ID,
            num_envs=2,
            world=tiny_bundle,
            horizon=1,
            autoreset_mode="SAME_STEP",
            disagreement_penalty=0.5,
        )
    env.reset(seed=0)
    *_, info = env.step(np.array([1, 2]))
    final = info["final_info"]
    assert np.array_equal(final["disagreement"], final["self_consistency_error"])


def test_no_penalty_is_no_wrapper(tiny_bundle: str) -> None:
    with pytest.warns(DeprecationWarning, match="self_consistency_penalty"):
        env = gymnasium.make_vec(ID, world=tiny_bundle, self_consistency_penalty=None)
    assert "self_consistency_error" not in env.reset(seed=0)[1]
