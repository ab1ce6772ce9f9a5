"""The promises of the generated environments."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.env_ids import TESTED_IDS, where_installed
from support.envs import frames_of, idle_actions
from support.envs import random_actions as actions

import streamdit_gym  # noqa: F401  (registers the ids)
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.envs.wrappers import VectorPendingActions
from streamdit_gym.errors import (
    ActionError,
    ArgumentError,
    PartitionError,
    ShapeError,
    UnknownNameError,
)

GENERATED = [name for name in TESTED_IDS if "-Real-" not in name]


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
    with pytest.raises(ArgumentError, match="pending"):
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
    with pytest.raises(ArgumentError, match="pictures"):
        env.reset(seed=9, options={"init": np.zeros((64, 64, 3), np.uint8)})
    assert (env.reset()[0] == plain.reset()[0]).all()


def is_far(info: dict[str, Any]) -> np.ndarray:
    """Return which rows cannot succeed soon; where no frame is a success, all of them."""
    potential = info.get("potential", np.full(3, -np.inf))
    return np.asarray(potential) < -8


@pytest.mark.parametrize("name", where_installed(TESTED_IDS))
def test_only_the_rows_that_ended_begin_anew(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=3, horizon=4, autoreset_mode="SAME_STEP")
    seed = next(s for s in range(0, 300, 3) if is_far(env.reset(seed=s)[1]).all())
    env.reset(seed=seed)
    stay, second = idle_actions(env), np.array([False, True, False])
    env.step(stay)
    while not is_far(env.reset(options={"reset_mask": second})[1])[1]:
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
    with pytest.raises(ArgumentError, match="pending"):
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
def test_memory_does_not_grow(tiny_bundle: str) -> None:
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        pytest.skip("reads /proc")
    env = gymnasium.make_vec("StreamDiT/PushT-Reach-v0", num_envs=2, world=tiny_bundle)
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
