"""One contract for every registered id."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from support.env_ids import (
    BOX_IDS,
    MENU_IDS,
    PUSHT_IDS,
    TESTED_IDS,
    where_installed,
)
from support.envs import frames_of, idle_actions
from support.envs import random_actions as actions
from support.pushed_dot import DOT_IDS, registered_dot

import streamdit_gym  # noqa: F401  (registers the ids)
from streamdit_gym.definition import EnvironmentTask
from streamdit_gym.envs.registration import IDS
from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import (
    ActionError,
    NotReadyError,
    ShapeError,
    UnknownNameError,
)
from streamdit_gym.registry import find_definition

ALL_IDS = [*where_installed(TESTED_IDS), *DOT_IDS]
# an action of every world, and the prompts of an idle step and of this action
ACTIONS_AND_PROMPTS = {
    "PushT": (3, ["stay", "move right"]),
    "PushT-Looks": (3, ["stay", "move right"]),
    "PushT-Continuous": (np.float32([0.6, -0.6]), ["x still; y still", "x right; y up"]),
    "Crossroads": (2, ["stay", "move right"]),
    "Reacher": (
        np.float32([0.6, -0.6]),
        ["shoulder still; elbow still", "shoulder left; elbow right"],
    ),
    "Fetch": (
        np.float32([0.6, -0.6, 0, 1]),
        [
            "depth still; side still; height still; fingers still",
            "depth forward; side left; height still; fingers open fast",
        ],
    ),
    "TakeCover": (1, ["stay", "step right"]),
    "PushedDot": (np.float32([0.6, -0.5]), ["x still; y still", "x right; y up"]),
}


@pytest.fixture(scope="module", autouse=True)
def _dot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with registered_dot(tmp_path_factory.mktemp("dot")):
        yield


def extreme_actions(env: Any) -> np.ndarray:
    """Return an action for every environment that is not idle."""
    space = env.unwrapped.single_action_space
    extreme = space.high if isinstance(space, spaces.Box) else min(3, space.n - 1)
    return np.stack([extreme] * env.num_envs)


@pytest.mark.parametrize("name", [*where_installed(IDS), *DOT_IDS])
def test_gymnasium_and_sb3_find_nothing_to_complain_about(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # the dot's box is another one on purpose
        warnings.filterwarnings("ignore", "We recommend you to use a symmetric and normalized Box")
        # Take Cover's agents observe latents
        warnings.filterwarnings("ignore", "The minimal resolution for an image is 36x36")
        check_env(gymnasium.make(name, render_mode="rgb_array").unwrapped)
        sb3_check_env(gymnasium.make(name, render_mode="rgb_array"))


@pytest.mark.parametrize("name", ALL_IDS)
def test_an_id_survives_json_and_the_module_prefix(name: str) -> None:
    env = gymnasium.make(f"streamdit_gym:{name}")
    assert env.spec is not None
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    definition = find_definition(env.spec.kwargs["world"])
    assert env.observation_space.shape == (*definition.frame_size, 3)
    assert again.action_space == env.action_space
    if name in MENU_IDS:
        assert env.action_space == spaces.Discrete(9 if name in PUSHT_IDS else 3)
    if name in BOX_IDS:
        assert env.action_space == spaces.Box(-1, 1, definition.actions.shape)
    if name in DOT_IDS:
        assert env.action_space == spaces.Box(np.float32([-1, -0.5]), np.float32([1, 0.5]))


@pytest.mark.parametrize("name", ALL_IDS)
def test_the_same_seed_gives_the_same_frames_bit_for_bit(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=3)
    first = frames_of(env, 12)
    assert (first == frames_of(env, 12)).all()
    assert (first == frames_of(gymnasium.make_vec(name, num_envs=3), 12)).all()
    assert not (first == frames_of(env, 12, seed=4)).all()


@pytest.mark.parametrize("name", ALL_IDS)
def test_the_single_env_is_a_row_of_the_batch(name: str) -> None:
    """Row i of a batch of 8 equals the environment alone within 2 grey levels over 16 steps."""
    batch = gymnasium.make_vec(name, num_envs=8, autoreset_mode="NEXT_STEP")
    plan = actions(batch, 16)
    together = frames_of(batch, 16, seed=3, plan=plan).astype(int)
    for row in (0, 5):
        alone = gymnasium.make(name)
        frame, _ = alone.reset(seed=3 + row)
        for step in range(17):
            assert abs(together[step, row] - frame.astype(int)).max() <= 2, (row, step)
            if step == 16:
                break
            frame, _, terminated, truncated, _ = alone.step(plan[step, row])
            if terminated or truncated:
                break


@pytest.mark.parametrize("name", ALL_IDS)
def test_info_says_what_was_said(name: str) -> None:
    env = gymnasium.make(name)
    action, texts = ACTIONS_AND_PROMPTS[env.spec.kwargs["world"]]
    _, info = env.reset(seed=0)
    _, reward, terminated, _, after = env.step(action)
    assert [info["prompt"], after["prompt"]] == texts
    task = env.unwrapped.task
    if isinstance(task, EnvironmentTask):
        assert "potential" not in info
        return
    expected = task.scale * (after["potential"] - info["potential"]) + task.bonus * terminated
    assert reward == pytest.approx(expected, abs=1e-4)
    assert terminated == (after["success"] > task.threshold)


@pytest.mark.parametrize("name", ALL_IDS)
@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP", "DISABLED"])
def test_autoreset_modes_end_and_begin_episodes_as_gymnasium_says(name: str, mode: str) -> None:
    env = gymnasium.make_vec(name, num_envs=2, horizon=3, autoreset_mode=mode)
    assert env.metadata["autoreset_mode"] is AutoresetMode[mode]
    seed = 0
    if name in PUSHT_IDS:  # far from done
        seed = next(s for s in range(0, 100, 2) if (env.reset(seed=s)[1]["potential"] < -8).all())
    _, first_info = env.reset(seed=seed)
    stay = idle_actions(env)
    for _ in range(2):
        _, _, terminated, truncated, _ = env.step(stay)
        assert not (terminated | truncated).any()
    observation, _, terminated, truncated, info = env.step(stay)
    assert truncated.all()
    assert not terminated.any()
    if mode == "SAME_STEP":
        assert (info["_final_obs"] == [True, True]).all()
        final = [frame.copy() for frame in info["final_obs"]]
        assert all(frame.base is None for frame in info["final_obs"]), (
            "what is kept of one row does not keep the batch"
        )
        env.step(stay)
        assert all((a == b).all() for a, b in zip(final, info["final_obs"], strict=True)), (
            "final_obs is a copy"
        )
        final_info = info["final_info"]
        assert final_info["_prompt"].tolist() == info["_final_info"].tolist()
        if "is_success" in final_info:
            assert final_info["is_success"].tolist() == [False, False]
            assert final_info["_potential"].tolist() == info["_final_info"].tolist()
        assert not (observation == np.stack(final)).all(), (
            "the observation is already the next episode's"
        )
    elif mode == "NEXT_STEP":
        fresh, reward, terminated, truncated, info = env.step(extreme_actions(env))
        assert (reward == 0).all()
        assert not (terminated | truncated).any()
        assert (info["prompt"] == first_info["prompt"]).all(), "the action was ignored"
        assert info["_prompt"].all(), "the info is the new episode's"
        assert not (fresh == observation).all()
    else:
        with pytest.raises(NotReadyError, match="reset_mask"):
            env.step(stay)
        env.reset(options={"reset_mask": np.array([True, True])})
        env.step(stay)


@pytest.mark.parametrize("name", ALL_IDS)
def test_reset_by_mask_leaves_the_other_rows_alone(name: str) -> None:
    plain, masked = (gymnasium.make_vec(name, num_envs=3) for _ in range(2))
    plan = actions(plain, 8)
    for env in (plain, masked):
        env.reset(seed=7)
        for a in plan[:3]:
            env.step(a)
    before = masked.unwrapped._episodes.observed.clone()
    observation, info = masked.reset(options={"reset_mask": np.array([False, True, False])})
    assert (observation[[0, 2]] == before[[0, 2]].numpy()).all()
    assert info["_prompt"].tolist() == [False, True, False]
    for a in plan[3:]:
        kept, after = plain.step(a)[0], masked.step(a)[0]
        assert (kept[[0, 2]] == after[[0, 2]]).all()


@pytest.mark.parametrize("name", ALL_IDS)
def test_a_saved_state_is_gone_on_from_bit_equal(name: str, tmp_path: Path) -> None:
    env = gymnasium.make_vec(name, num_envs=2, horizon=6).unwrapped
    env.reset(seed=1)
    plan = actions(env, 10)
    for a in plan[:3]:
        env.step(a)
    torch.save(env.save_state(), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    runs = []
    for _ in range(2):
        runs.append([env.step(a) for a in plan[3:]])
        env.restore_state(saved)
    for (o1, r1, e1, t1, _), (o2, r2, e2, t2, _) in zip(*runs, strict=True):
        assert (o1 == o2).all()
        assert (r1 == r2).all()
        assert (e1 == e2).all()
        assert (t1 == t2).all()
    with pytest.raises(ShapeError, match="num_envs"):
        env.restore_state({**saved, "num_envs": 3})


@pytest.mark.parametrize("name", ALL_IDS)
def test_render_gives_the_frames(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=2, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert all((a == b).all() for a, b in zip(env.render(), observation, strict=True))
    single = gymnasium.make(name, render_mode="rgb_array")
    frame, _ = single.reset(seed=0)
    assert (single.render() == frame).all()


def test_render_gives_the_frames_without_a_render_mode_too() -> None:
    batch = StreamDiTVectorEnv(1)
    single = StreamDiTEnv()
    for env in (batch, single):
        env.reset(seed=0)
    assert np.array_equal(batch.render()[0], single.render())


@pytest.mark.parametrize("name", ALL_IDS)
def test_torch_output_is_the_same_numbers(name: str) -> None:
    env, plain = (
        gymnasium.make_vec(name, num_envs=2, backend={"output": "torch"}),
        gymnasium.make_vec(name, num_envs=2),
    )
    a, _ = env.reset(seed=5)
    b, _ = plain.reset(seed=5)
    assert isinstance(a, torch.Tensor)
    for plan in actions(plain, 5):
        (a, r, e, t, _), (b, s, f, u, _) = env.step(torch.from_numpy(plan)), plain.step(plan)
        assert (a.numpy() == b).all()
        np.testing.assert_allclose(r.numpy(), s, rtol=1e-6)
        assert (e.numpy() == f).all()
        assert (t.numpy() == u).all()


@pytest.mark.parametrize("name", where_installed(MENU_IDS))
@pytest.mark.parametrize(
    "bad", [[0], [0, 9], [0, -1], [0.5, 1.0], [[0, 1]], ["up", "down"]], ids=str
)
def test_bad_actions_are_refused_and_change_nothing(name: str, bad: list) -> None:
    env, plain = gymnasium.make_vec(name, num_envs=2), gymnasium.make_vec(name, num_envs=2)
    for e in (env, plain):
        e.reset(seed=0)
    with pytest.raises(ActionError, match="allowed"):
        env.step(np.array(bad))
    assert (env.step(np.array([1, 2]))[0] == plain.step(np.array([1, 2]))[0]).all()


@pytest.mark.parametrize("name", [*where_installed(BOX_IDS), *DOT_IDS])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([[0, 0]], r"int64 \(1, 2\)"),
        ([0, 0], r"int64 \(2,\)"),
        ([["left", "up"]] * 2, "<U4"),
        ([[0, 0], [0, 1.1]], "(y|elbow|side) = 1.1 in environment 1"),
        ([[0, 0], [-1.1, 0]], "(x|shoulder|depth) = -1.1 in environment 1"),
        ([[np.nan, 0], [0, 0]], "(x|shoulder|depth) = nan in environment 0"),
        ([[0, np.inf], [0, 0]], "(y|elbow|side) = inf in environment 0"),
        ([[1 + 2j, 0], [0, 0]], "complex"),
    ],
    ids=str,
)
def test_bad_actions_of_a_box_are_refused_and_change_nothing(
    name: str, bad: list, message: str
) -> None:
    env, plain = gymnasium.make_vec(name, num_envs=2), gymnasium.make_vec(name, num_envs=2)
    for each in (env, plain):
        each.reset(seed=0)
    values = np.array(bad)
    if values.dtype == np.float64:  # a bad value in an array of the right shape
        values = np.pad(values, [(0, 0), (0, env.single_action_space.shape[0] - 2)])
    with pytest.raises(ActionError, match=message) as error:
        env.step(values)
    assert "allowed" in str(error.value)
    for step in actions(env, 2):
        assert (env.step(step)[0] == plain.step(step)[0]).all()


@pytest.mark.parametrize("name", ALL_IDS)
def test_calls_out_of_order_are_refused(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=2)
    with pytest.raises(NotReadyError, match="reset"):
        env.step(idle_actions(env))
    with pytest.raises(NotReadyError, match="reset"):
        env.unwrapped.save_state()
    with pytest.raises(NotReadyError, match="all environments"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset()
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step(idle_actions(env)), env.unwrapped.save_state):
        with pytest.raises(NotReadyError, match="closed"):
            call()


@pytest.mark.parametrize("name", ALL_IDS)
@pytest.mark.parametrize(
    "options",
    [
        {"reset_mask": [True, False]},
        {"reset_mask": np.array([1, 0])},
        {"reset_mask": np.zeros(2, dtype=bool)},
    ],
    ids=str,
)
def test_bad_masks_are_refused(name: str, options: dict) -> None:
    env = gymnasium.make_vec(name, num_envs=2)
    env.reset()
    with pytest.raises(ShapeError, match="mask"):
        env.reset(options=options)


def test_names_that_do_not_exist_get_the_nearest_one() -> None:
    for settings, near in (
        ({"world": "Pusht"}, "PushT"),
        ({"task": "reech"}, "reach"),
        ({"autoreset_mode": "SAMESTEP"}, "SAME_STEP"),
        ({"backend": {"output": "numppy"}}, "numpy"),
        ({"render_mode": "rgb"}, "rgb_array"),
        ({"backend": {"dtype": "float23"}}, "float32"),
    ):
        with pytest.raises(UnknownNameError, match=f"did you mean '{near}'"):
            StreamDiTVectorEnv(2, **settings)
    env = StreamDiTVectorEnv(2)
    with pytest.raises(UnknownNameError, match="init"):
        env.reset(options={"inlt": 1})
    with pytest.raises(UnknownNameError, match="reference simulator"):
        StreamDiTVectorEnv(2, world="Juggler", real=True)
