"""One contract for every registered id, and the promises of the generated environments."""

from __future__ import annotations

import itertools
import os
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import streamdit_gym  # noqa: F401  (registers the ids)
from streamdit_gym.envs.registration import IDS
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.envs.wrappers import VectorPendingActions
from streamdit_gym.errors import (
    ActionError,
    ArgumentError,
    NotReadyError,
    PartitionError,
    ShapeError,
    UnknownNameError,
)

GENERATED = [name for name in IDS if "-Real-" not in name]


def actions(env: Any, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(9, size=(steps, env.num_envs))


def frames_of(env: Any, steps: int, seed: int = 3, plan: np.ndarray | None = None) -> np.ndarray:
    first, _ = env.reset(seed=seed)
    plan = actions(env, steps) if plan is None else plan
    return np.stack([first, *(env.step(a)[0] for a in plan)])


#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
# ---------------------------------------------------------------------------------------------------- every id


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_and_sb3_find_nothing_to_complain_about(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(name, render_mode="rgb_array").unwrapped)
        sb3_check_env(gymnasium.make(name, render_mode="rgb_array"))


@pytest.mark.parametrize("name", IDS)
def test_an_id_survives_json_and_the_module_prefix(name: str) -> None:
    env = gymnasium.make(f"streamdit_gym:{name}")
    assert env.spec is not None
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    assert env.observation_space.shape == (64, 64, 3)
    assert env.action_space == gymnasium.spaces.Discrete(9)


@pytest.mark.parametrize("name", IDS)
def test_the_same_seed_gives_the_same_frames_bit_for_bit(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=3)
    first = frames_of(env, 12)
    assert (first == frames_of(env, 12)).all()
    assert (first == frames_of(gymnasium.make_vec(name, num_envs=3), 12)).all()
    assert not (first == frames_of(env, 12, seed=4)).all()


@pytest.mark.parametrize("name", IDS)
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


@pytest.mark.parametrize("name", IDS)
def test_info_says_what_was_said(name: str) -> None:
    env = gymnasium.make(name)
    _, info = env.reset(seed=0)
    assert info["prompt"] == "stay"
    _, reward, terminated, _, after = env.step(3)
    assert after["prompt"] == "move right"
    task = env.unwrapped.task
    expected = task.scale * (after["potential"] - info["potential"]) + task.bonus * terminated
    assert reward == pytest.approx(expected, abs=1e-4)
    assert terminated == (after["success"] > task.threshold)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP", "DISABLED"])
def test_autoreset_modes_end_and_begin_episodes_as_gymnasium_says(name: str, mode: str) -> None:
    env = gymnasium.make_vec(name, num_envs=2, horizon=3, autoreset_mode=mode)
    assert env.metadata["autoreset_mode"] is AutoresetMode[mode]
    seed = next(
        s for s in range(0, 100, 2) if (env.reset(seed=s)[1]["potential"] < -8).all()
    )  # far from done
    env.reset(seed=seed)
    stay = np.zeros(2, dtype=int)
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
        assert info["final_info"]["is_success"].tolist() == [False, False]
        assert info["final_info"]["_potential"].tolist() == info["_final_info"].tolist()
        assert not (observation == np.stack(final)).all(), (
            "the observation is already the next episode's"
        )
    elif mode == "NEXT_STEP":
        fresh, reward, terminated, truncated, info = env.step(np.full(2, 3))
        assert (reward == 0).all()
        assert not (terminated | truncated).any()
        assert info["prompt"].tolist() == ["stay", "stay"], "the action was ignored"
        assert info["_prompt"].all(), "the info is the new episode's"
        assert not (fresh == observation).all()
    else:
        with pytest.raises(NotReadyError, match="reset_mask"):
            env.step(stay)
        env.reset(options={"reset_mask": np.array([True, True])})
        env.step(stay)


@pytest.mark.parametrize("name", IDS)
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


@pytest.mark.parametrize("name", IDS)
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


@pytest.mark.parametrize("name", IDS)
def test_render_gives_the_frames(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=2, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert all((a == b).all() for a, b in zip(env.render(), observation, strict=True))
    single = gymnasium.make(name, render_mode="rgb_array")
    frame, _ = single.reset(seed=0)
    assert (single.render() == frame).all()


@pytest.mark.parametrize("name", IDS)
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


# ------------------------------------------------------------------------------------------- bad input, every id


@pytest.mark.parametrize("name", IDS)
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


@pytest.mark.parametrize("name", IDS)
def test_calls_out_of_order_are_refused(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=2)
    with pytest.raises(NotReadyError, match="reset"):
        env.step(np.zeros(2, dtype=int))
    with pytest.raises(NotReadyError, match="reset"):
        env.unwrapped.save_state()
    with pytest.raises(NotReadyError, match="all environments"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset()
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step(np.zeros(2, dtype=int)), env.unwrapped.save_state):
        with pytest.raises(NotReadyError, match="closed"):
            call()


@pytest.mark.parametrize("name", IDS)
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
        StreamDiTVectorEnv(2, world="Fetch", real=True)


# ----------------------------------------------------------------------------------- the generated environments


@pytest.mark.parametrize(("cut", "late"), [("reactive", 0), ("pipelined", 3), ("K4N2c1s1", 1)])
def test_an_action_is_seen_exactly_as_late_as_declared(cut: str, late: int) -> None:
    env = gymnasium.make_vec(GENERATED[0], num_envs=1, partition=cut).unwrapped
    assert env.latency_frames == late
    runs = []
    for second in (3, 7):
        env.reset(seed=0)
        runs.append(
            np.stack([env.step(np.array([a]))[0][0] for a in (1, 1, second, 1, 1, 1, 1)]).astype(
                int
            )
        )
    differs = abs(runs[0] - runs[1]).max((1, 2, 3)) > 0
    assert not differs[: 2 + late].any()
    assert differs[2 + late]


def test_pending_actions_are_those_begun_and_not_yet_seen() -> None:
    env = VectorPendingActions(gymnasium.make_vec(GENERATED[0], num_envs=2, partition="pipelined"))
    observation, _ = env.reset(seed=0)
    assert observation["pending"].tolist() == [[0, 0, 0], [0, 0, 0]]
    for a in (1, 2, 3, 4):
        observation = env.step(np.array([a, 0]))[0]
    assert observation["pending"].tolist() == [[2, 3, 4], [0, 0, 0]]
    assert env.observation_space.contains(observation)
    with pytest.raises(ShapeError, match="pending"):
        VectorPendingActions(StreamDiTVectorEnv(2))


def test_streams_start_from_the_callers_frames() -> None:
    real = gymnasium.make_vec("StreamDiT/PushT-Real-v0", num_envs=2)
    clip = frames_of(real, 3).swapaxes(0, 1)
    env = gymnasium.make_vec(GENERATED[0], num_envs=2)
    for init, expected in (
        (clip, clip[:, -1]),
        (clip[0, -1], clip[[0, 0], -1]),
        (clip[0], clip[[0, 0], -1]),
        (clip[:, -1:], clip[:, -1]),
    ):
        observation, _ = env.reset(seed=0, options={"init": init})
        assert abs(observation.astype(float) - expected).mean() < 3, (
            "the codec's picture of the given frame"
        )
    single = gymnasium.make(GENERATED[0])
    frame, _ = single.reset(options={"init": clip[0, -1, ..., ::-1].copy()[..., ::-1]})
    assert abs(frame.astype(float) - clip[0, -1]).mean() < 3


@pytest.mark.parametrize(
    "init",
    [
        np.zeros((64, 64, 3)),
        np.zeros((32, 64, 3), np.uint8),
        np.zeros((3, 1, 64, 64, 3), np.uint8),
        np.zeros((2, 0, 64, 64, 3), np.uint8),
        "frame.png",
    ],
    ids=str,
)
def test_bad_start_frames_are_refused_and_change_nothing(init: Any) -> None:
    env, plain = (gymnasium.make_vec(GENERATED[0], num_envs=2) for _ in range(2))
    for e in (env, plain):
        e.reset(seed=0)
    with pytest.raises(ShapeError, match="start frames"):
        env.reset(options={"init": init})
    assert (env.step(np.array([1, 2]))[0] == plain.step(np.array([1, 2]))[0]).all()
    with pytest.raises(ShapeError, match="two ways"):
        env.reset(options={"init": np.zeros((2, 64, 64, 3), np.uint8)})


def test_a_twin_refuses_pictures_and_keeps_its_seeds() -> None:
    env, plain = (gymnasium.make_vec("StreamDiT/PushT-Real-v0", num_envs=2) for _ in range(2))
    for e in (env, plain):
        e.reset(seed=0)
    with pytest.raises(ShapeError, match="pictures"):
        env.reset(seed=9, options={"init": np.zeros((64, 64, 3), np.uint8)})
    assert (env.reset()[0] == plain.reset()[0]).all()


@pytest.mark.parametrize("name", IDS)
def test_only_the_rows_that_ended_begin_anew(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=3, horizon=4, autoreset_mode="SAME_STEP")
    seed = next(s for s in range(0, 300, 3) if (env.reset(seed=s)[1]["potential"] < -8).all())
    env.reset(seed=seed)
    stay, second = np.zeros(3, dtype=int), np.array([False, True, False])
    env.step(stay)
    while env.reset(options={"reset_mask": second})[1]["potential"][1] > -8:
        pass
    for _ in range(2):
        env.step(stay)
    _, _, _, truncated, info = env.step(stay)
    assert truncated.tolist() == [True, False, True]
    assert info["_final_obs"].tolist() == [True, False, True]
    assert info["final_obs"][1] is None
    assert env.step(stay)[3].tolist() == [False, True, False]


def test_text_actions_contain_words() -> None:
    env = gymnasium.make(GENERATED[0], actions="text")
    assert env.action_space.contains("move up and to the left!")
    assert env.action_space.contains(env.action_space.sample())
    with pytest.raises(ShapeError, match="pending"):
        VectorPendingActions(StreamDiTVectorEnv(2, partition="pipelined", actions="text"))


@pytest.mark.parametrize("seed", [np.int64(5), [5, 6], np.array([5, 6])], ids=str)
def test_seeds_of_every_kind_are_the_same_seeds(seed: Any) -> None:
    env = gymnasium.make_vec("StreamDiT/PushT-Real-v0", num_envs=2)
    assert (env.reset(seed=5)[0] == env.reset(seed=seed)[0]).all()


def test_a_seed_that_cannot_be_changes_nothing() -> None:
    env, plain = (gymnasium.make_vec("StreamDiT/PushT-Real-v0", num_envs=2) for _ in range(2))
    for e in (env, plain):
        e.reset(seed=5)
    with pytest.raises(ArgumentError, match="seed cannot be used"):
        env.reset(seed=[7, -1])
    assert (env.reset()[0] == plain.reset()[0]).all()
    with pytest.raises(UnknownNameError, match="unknown device 'cuda:99'"):
        StreamDiTVectorEnv(1, device="cuda:99")


def test_a_state_with_free_text_is_gone_on_from_where_the_table_has_other_rows(
    tiny_bundle: str,
) -> None:
    pytest.importorskip("transformers")
    kinds = {"num_envs": 2, "actions": "text", "world": tiny_bundle}
    env = gymnasium.make_vec(GENERATED[0], **kinds)
    env.reset(seed=0)
    env.step(["creep to the left", "hurry up"])
    saved = env.unwrapped.save_state()
    frames = env.step(["stay", "stay"])[0]
    shared_world.cache_clear()  # as in another process
    again = gymnasium.make_vec(GENERATED[0], **kinds)
    again.reset(seed=1)
    again.step(["these words", "come first"])
    again.unwrapped.restore_state(saved)
    assert (again.step(["stay", "stay"])[0] == frames).all()
    other = gymnasium.make_vec(GENERATED[0], backend={"deterministic": True}, **kinds)
    other.reset()
    with pytest.raises(ShapeError, match="other environments"):
        other.unwrapped.restore_state(saved)


def test_a_single_environment_has_no_autoreset() -> None:
    with pytest.raises(UnknownNameError, match="make_vec"):
        gymnasium.make(GENERATED[0], autoreset_mode="SAME_STEP")
    with pytest.raises(ArgumentError, match="horizon cannot be used"):
        StreamDiTVectorEnv(1, horizon=0)


@pytest.mark.parametrize("cut", ["K9N1c1s1", "K4N2c2s1", "K0N1c1s1", "reactve"])
def test_partitions_that_do_not_fit_are_refused(cut: str) -> None:
    with pytest.raises(PartitionError, match="allowed"):
        StreamDiTVectorEnv(1, partition=cut)


def test_free_text_needs_the_text_actions() -> None:
    env = gymnasium.make_vec(GENERATED[0], num_envs=2, actions="text")
    env.reset(seed=0)
    _, _, _, _, info = env.step(["move up", "stop"])
    assert info["prompt"].tolist() == ["move up", "stop"]
    for bad in (["move up"], ["move up", ""], ["move up", 3]):
        with pytest.raises(ActionError, match="strings"):
            env.step(bad)
    menu = gymnasium.make_vec(GENERATED[0], num_envs=2)
    menu.reset(seed=0)
    env.reset(seed=0)
    assert (env.step(["move up", "move left"])[0] == menu.step(np.array([1, 7]))[0]).all()


def test_deterministic_rows_depend_on_neither_batch_nor_row() -> None:
    batch = gymnasium.make_vec(GENERATED[0], num_envs=3, backend={"deterministic": True})
    plan = actions(batch, 6)
    together = frames_of(batch, 6, plan=plan)
    alone = gymnasium.make_vec(GENERATED[0], num_envs=1, backend={"deterministic": True})
    assert (together[:, 2:] == frames_of(alone, 6, seed=5, plan=plan[:, 2:])).all()


@pytest.mark.parametrize("common", [True, False])
def test_common_noise_makes_equal_rows_equal(common: bool, tiny_bundle: str) -> None:
    # the shipped world hardly sees the noise in reactive, and has none in pipelined
    kinds = {"partition": "pipelined", "observation": "latent", "world": tiny_bundle}
    env = gymnasium.make_vec(GENERATED[0], num_envs=2, backend={"common_noise": common}, **kinds)
    init = frames_of(gymnasium.make_vec("StreamDiT/PushT-Real-v0", num_envs=1), 0)[0, 0]
    env.reset(seed=0, options={"init": init})
    for a in (1, 2, 5):
        latents = env.step(np.array([a, a]))[0]
    assert (abs(latents[0] - latents[1]).max() < 1e-3) == common


@pytest.mark.slow
def test_memory_does_not_grow() -> None:
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        pytest.skip("reads /proc")
    env = gymnasium.make_vec("StreamDiT/PushT-Reach-v0", num_envs=2)
    env.reset(seed=0)
    sizes_mb = []
    for _ in range(4):
        for a in actions(env, 500):
            env.step(a)
        sizes_mb.append(int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
    assert sizes_mb[-1] - sizes_mb[0] < 20, f"resident MB after each 500 steps: {sizes_mb}"


def test_a_window_without_a_screen_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    env = gymnasium.make(GENERATED[0], render_mode="human")
    env.reset(seed=0)
    env.step(1)
    env.render()
    env.close()
    assert "no display" in caplog.text


def test_a_window_shows_enlarged_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture.shape))
    monkeypatch.setattr(cv2, "waitKey", lambda ms: None)
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: None)
    env = gymnasium.make_vec(GENERATED[0], num_envs=3, render_mode="human")
    env.reset(seed=0)
    env.step(np.zeros(3, dtype=int))
    env.close()
    assert shown == [(512, 512, 3)] * 2, "once for the reset, once for the step"


def test_a_world_is_loaded_once_per_process() -> None:
    first, second = (
        gymnasium.make(name).unwrapped.batch._backend.world
        for name, _ in itertools.product(GENERATED[:1], range(2))
    )
    assert first is second
