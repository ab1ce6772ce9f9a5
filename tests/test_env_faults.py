"""Rows whose numbers are not finite end at once and leave the others alone."""

from __future__ import annotations

import os
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from conftest import make_tiny_world
from support.envs import ENV_KINDS as KINDS
from support.envs import endless_bundle, penalised_env, plan, sessions_of, spoil

import streamdit_gym  # noqa: F401  (registers the ids)
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.live import LiveStream

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny world in which no task is ever done: episodes end for the tested reason alone."""
    return endless_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP", "DISABLED"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_not_finite_ends_at_once_and_leaves_the_others_alone(
    kind: str, mode: str, bundle: str
) -> None:
    env, plain = (
        StreamDiTVectorEnv(3, world=bundle, autoreset_mode=mode, **KINDS[kind]) for _ in range(2)
    )
    for each in (env, plain):
        each.reset(seed=0)
    others, rng = [0, 2], np.random.default_rng(1)
    last = None
    for step, actions in enumerate(plan(3, 12)):
        if step % 4 == 2:
            spoil(env, 1, rng)
        if mode == "DISABLED" and env._episodes.done.any():
            env.reset(options={"reset_mask": env._episodes.done.copy()})
        seen, rewards, terminated, truncated, info = env.step(actions)
        expected = plain.step(actions)
        assert (np.asarray(seen)[others] == np.asarray(expected[0])[others]).all()
        assert (np.asarray(rewards)[others] == np.asarray(expected[1])[others]).all()
        assert np.isfinite(np.asarray(rewards)).all()
        fault = info["final_info"]["world_fault"] if "final_info" in info else info["world_fault"]
        assert fault.tolist() == [False, step % 4 == 2, False]
        assert np.asarray(truncated).tolist() == fault.tolist()
        assert not np.asarray(terminated).any()
        if fault.any():
            assert rewards[1] == 0
            final = info["final_obs"][1] if mode == "SAME_STEP" else seen[1]
            assert (np.asarray(final) == np.asarray(last)).all(), "the last finite one"
        last = seen[1]
    assert all(bool(session.finite().all()) for session in sessions_of(env))
    assert all(
        bool(part.isfinite().all())
        for session in sessions_of(env)
        for part in session.cache.tensors()
    )


def test_every_info_says_whether_a_world_failed(bundle: str) -> None:
    env = StreamDiTVectorEnv(2, world=bundle)
    _, at_reset = env.reset(seed=0)
    at_step = env.step(np.array([1, 2]))[4]
    for info in (at_reset, at_step):
        assert info["world_fault"].dtype == np.bool_
        assert info["world_fault"].tolist() == [False, False]
        assert info["_world_fault"].all()


def test_a_broken_world_shows_black_and_ends_every_episode_at_its_first_step(bundle: str) -> None:
    shared_world.cache_clear()
    try:
        env = StreamDiTVectorEnv(2, world=bundle, autoreset_mode="NEXT_STEP")
        env._backend.world.readout.out.bias.data.fill_(torch.nan)
        seen, info = env.reset(seed=0)
        assert not seen.any()
        assert info["world_fault"].all()
        assert (info["potential"] == 0).all()
        for ends in (True, False, True):
            _, rewards, terminated, truncated, info = env.step(np.array([1, 2]))
            assert (rewards == 0).all()
            assert truncated.tolist() == [ends, ends]
            assert not terminated.any()
            assert info["world_fault"].all()
        saved = env.save_state()
        env.restore_state(saved)
    finally:
        shared_world.cache_clear()


@pytest.mark.parametrize("source", ["penalty", "simulator"])
def test_a_number_that_is_not_finite_ends_its_row_wherever_it_comes_from(
    source: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "penalty":
        env = penalised_env(2, world=bundle, autoreset_mode="SAME_STEP")
        monkeypatch.setattr(
            env.unwrapped._backend, "self_consistency_error", lambda: torch.tensor([0.5, torch.nan])
        )
    else:
        env = StreamDiTVectorEnv(2, real=True)
    env.reset(seed=0)
    if source == "simulator":
        monkeypatch.setattr(
            env._backend.simulators[1], "scores", lambda: np.full(4, np.inf, np.float32)
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(env, "autoreset_mode", gymnasium.vector.AutoresetMode.DISABLED)
            _, rewards, terminated, truncated, info = env.step(np.array([1, 2]))
    else:
        _, rewards, terminated, truncated, info = env.step(np.array([1, 2]))
        info = info["final_info"]
    assert truncated.tolist() == [False, True]
    assert not terminated.any()
    assert rewards[1] == 0
    assert info["world_fault"].tolist() == [False, True]
    assert np.isfinite(info["potential"]).all()


SOAK_STEPS = int(os.environ.get("SOAK_STEPS", "5000"))  # 25,000 in a campaign
BATCHED: dict[str, Any] = {
    "horizon": 10_000
}  # how a stream begins depends, in its last bits, on how many begin with it
ROW_BY_ROW: dict[str, Any] = {"horizon": 40, "backend": {"deterministic": True}}


def soak(env_steps: int, num_envs: int, bundle: str, **settings: Any) -> int:
    """Disturb half of the rows at random for many steps, and return how often;
    see the assertions for what must hold.
    """
    env, plain = (
        StreamDiTVectorEnv(num_envs, world=bundle, autoreset_mode="SAME_STEP", **settings)
        for _ in range(2)
    )
    for each in (env, plain):
        each.reset(seed=0)
    half, rng, disturbed = num_envs // 2, np.random.default_rng(2), 0
    for actions in plan(num_envs, env_steps // num_envs, seed=3):
        rows = np.flatnonzero(rng.random(half) < 0.1)
        for row in rows:
            spoil(env, int(row), rng)
        disturbed += len(rows)
        seen, rewards, _, truncated, info = env.step(actions)
        expected = plain.step(actions)
        assert (seen[half:] == expected[0][half:]).all()
        assert (rewards[half:] == expected[1][half:]).all()
        assert (truncated[half:] == expected[3][half:]).all()
        fault = (
            info["final_info"]["world_fault"]
            if "final_info" in info
            else np.zeros(num_envs, dtype=bool)
        )
        assert np.flatnonzero(fault).tolist() == rows.tolist(), (
            "the row ends at once, and no other does"
        )
        assert truncated[rows].all()
        assert (rewards[rows] == 0).all()
        assert not info["world_fault"].any(), "its successor is healthy"
    return disturbed


@pytest.mark.parametrize("settings", [BATCHED, ROW_BY_ROW], ids=["batched", "row by row"])
def test_disturbed_rows_end_and_the_others_are_those_of_an_undisturbed_run(
    settings: dict, bundle: str
) -> None:
    assert soak(200 if "backend" in settings else 400, 8, bundle, **settings) > 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "env_steps"),
    [(BATCHED, SOAK_STEPS), (ROW_BY_ROW, SOAK_STEPS // 10)],
    ids=["batched", "row by row"],
)
def test_disturbed_rows_end_over_many_steps(settings: dict, env_steps: int, bundle: str) -> None:
    disturbed = soak(env_steps, 25, bundle, **settings)
    assert disturbed > 0.03 * env_steps
    print(f"disturbed {disturbed} times in {env_steps} env steps")


def test_a_live_stream_that_is_not_finite_begins_anew_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = LiveStream(make_tiny_world(), seed=1)
    live.set_prompt("move left")
    assert not live.step()[0].restarted
    live._session.references[0, -1] = torch.nan
    frame = live.step()[0]
    assert frame.restarted
    assert frame.prompt == "move left"
    assert all(np.isfinite(value) for value in frame.readout.values())
    assert "it restarts" in caplog.text
    assert not live.step()[0].restarted
