"""What an environment's state is: rows that are not finite, saved states, copies, time limits,
threads, forks.
"""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from conftest import make_tiny_world
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeAwareObservation, TimeLimit
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from support.edits import edited, same
from support.envs import penalised_env

import streamdit_gym  # noqa: F401  (registers the ids)
from streamdit_gym.envs import generated_backend
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import ArgumentError, BundleError, ShapeError, StreamDiTError
from streamdit_gym.live import LiveStream

GENERATED, REAL = "StreamDiT/PushT-v0", "StreamDiT/PushT-Real-v0"
KINDS: dict[str, dict[str, Any]] = {
    "batched": {},
    "row by row": {"backend": {"deterministic": True}},
    "latents": {"observation": "latent"},
    "pipelined": {"partition": "pipelined"},
    "torch": {"backend": {"output": "torch"}},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny world in which no task is ever done,
    so that episodes end for no other reason than the tested one.
    """
    world = make_tiny_world()
    world.readout.out.bias.data[len(world.spec.state_names) :][2:] = -30
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    world.save_pretrained(folder)
    return str(folder)


def plan(num_envs: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(9, size=(steps, num_envs))


def sessions_of(env: StreamDiTVectorEnv) -> list[Any]:
    """Return a batch's sessions: one of all rows, or one for each."""
    backend: Any = env._backend
    return (
        [row._session for row in backend.backends]
        if hasattr(backend, "backends")
        else [backend._session]
    )


def spoil(env: StreamDiTVectorEnv, row: int, rng: np.random.Generator) -> None:
    """Put a NaN somewhere into what a row's next frame is made of."""
    sessions = sessions_of(env)
    alone = len(sessions) > 1
    session = sessions[row] if alone else sessions[0]
    parts = [
        session.references[:, 1:],
        session.buffer.latents,
        *session.cache.tensors(),
    ]  # the oldest is not used again
    parts = [part for part in parts if part.numel()]
    numbers = parts[int(rng.integers(len(parts)))][0 if alone else row]
    numbers[tuple(int(rng.integers(size)) for size in numbers.shape)] = torch.nan


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


# ------------------------------------------------------------------------------------- numbers that
# are not finite


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


# ------------------------------------------------------------------------------------------------
# saved states


def begun(**settings: Any) -> StreamDiTVectorEnv:
    """Return environments in the middle of an episode."""
    env = StreamDiTVectorEnv(2, **{"autoreset_mode": "SAME_STEP", **settings})
    env.reset(seed=0)
    for actions in plan(2, 3):
        env.step(actions)
    return env


def fuzz(env: StreamDiTVectorEnv, other: Any, edits: int) -> tuple[int, int]:
    """Restore edited states; return how many were refused, and how many were valid after all."""
    state = env.save_state()
    rng, refused, accepted = np.random.default_rng(0), 0, 0
    for _ in range(edits):
        attempt = edited(state, other, rng)
        try:
            env.restore_state(attempt)
        except StreamDiTError as error:
            refused += bool(error.allowed and error.remedy)
            assert same(env.save_state(), state), "an error changes nothing"
        else:
            accepted += 1
            env.step(np.array([1, 2]))
            env.restore_state(state)
    return refused, accepted


FUZZED = {
    "batched": {},
    "row by row": {"backend": {"deterministic": True}},
    "pipelined": {"partition": "pipelined", "observation": "latent"},
    "simulator": {"real": True},
    "painted simulator": {"real": True, "world": "PushT-Looks"},
}


def fuzzed(kind: str, bundle: str) -> tuple[StreamDiTVectorEnv, Any]:
    settings = FUZZED[kind] if "real" in FUZZED[kind] else {"world": bundle, **FUZZED[kind]}
    other = StreamDiTVectorEnv(3, **{**settings, "partition": "K4N2c1s1"})
    other.reset(seed=9)
    return begun(**settings), other.save_state()


@pytest.mark.parametrize("kind", FUZZED)
def test_an_edited_state_is_refused_and_changes_nothing(kind: str, bundle: str) -> None:
    edits = 12 if "real" in FUZZED[kind] else 60
    refused, accepted = fuzz(*fuzzed(kind, bundle), edits=edits)
    assert refused + accepted == edits, "every error says what is allowed, and a remedy"
    assert refused > accepted


EDITS = int(os.environ.get("STATE_EDITS", "100"))  # 300 in a campaign


@pytest.mark.slow
@pytest.mark.parametrize("kind", FUZZED)
def test_many_edited_states_are_refused_and_change_nothing(kind: str, bundle: str) -> None:
    refused, accepted = fuzz(*fuzzed(kind, bundle), edits=EDITS)
    print(f"{kind}: {refused} refused, {accepted} valid after all")
    assert refused + accepted == EDITS


def test_what_is_wrong_with_a_state_is_named(bundle: str) -> None:
    env = begun(world=bundle)
    state = env.save_state()
    short = {name: value for name, value in state.items() if name != "scores"}
    stream = {**state["backend"], "references": state["backend"]["references"][:1]}
    cases: list[tuple[Any, type[StreamDiTError], str]] = [
        (None, ArgumentError, "no saved state"),
        (short, ShapeError, "missing: scores"),
        ({**state, "more": 1}, ShapeError, "unknown: 'more'"),
        ({**state, "num_envs": 3}, ShapeError, "num_envs"),
        ({**state, "steps": torch.tensor([1, 999])}, ArgumentError, "steps"),
        ({**state, "steps": torch.tensor([1, 128])}, ArgumentError, "horizon"),
        ({**state, "done": torch.tensor([True, False])}, ArgumentError, "over"),
        (
            {**state, "scores": state["scores"] * torch.nan},
            ArgumentError,
            "scores of a saved state is not finite",
        ),
        ({**state, "prompts": ["stay", "\ud800"]}, ArgumentError, "surrogates"),
        ({**state, "rngs": state["rngs"][:1]}, ShapeError, "rngs"),
        ({**state, "backend": stream}, ShapeError, "references"),
        (
            {**state, "backend": {**state["backend"], "phrases": {}}},
            ShapeError,
            "prompts that it does not tell",
        ),
    ]
    for attempt, kind, text in cases:
        with pytest.raises(kind, match=text):
            env.restore_state(attempt)
        assert same(env.save_state(), state)


@pytest.mark.parametrize(
    "saved",
    [
        None,
        [[0.0] * 5],
        [[0.0] * 4, []],
        [[0.0, 0.0, 1e300, 0.0, 0.0], []],
        [[100.0, 100.0, torch.nan, 300.0, 0.0], []],
        [[100.0, 100.0, 300.0, 300.0, 0.0], [9]],
        [[100.0, 100.0, 300.0, 300.0, 0.0], [1.0]],
        [[100.0, 100.0, 300.0, 300.0, 0.0], [0] * 101],
    ],
    ids=str,
)
def test_a_simulators_bad_state_stops_every_row(saved: Any) -> None:
    env = begun(real=True)
    state = env.save_state()
    with pytest.raises(ArgumentError, match="allowed"):
        env.restore_state({**state, "backend": [state["backend"][0], saved]})
    assert same(env.save_state(), state)


def test_a_simulator_of_somebody_elses_may_fail_as_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = begun(real=True)
    state = env.save_state()
    first = env.step(np.array([3, 4]))[0]
    env.restore_state(state)

    def fail(self: Any, saved: Any) -> None:
        raise KeyError("joints")

    with monkeypatch.context() as patch:
        patch.setattr(type(env._backend.simulators[0]), "restore", fail)
        with pytest.raises(ArgumentError, match="KeyError: 'joints'"):
            env.restore_state(state)
    assert (env.step(np.array([3, 4]))[0] == first).all()


def test_a_state_belongs_to_a_worlds_content_and_not_to_its_path(
    bundle: str, tmp_path: Path
) -> None:
    env = begun(world=bundle)
    state = env.save_state()
    shutil.copytree(bundle, tmp_path / "elsewhere")
    moved = begun(world=str(tmp_path / "elsewhere"))
    moved.restore_state(state)
    assert (moved.step(np.array([1, 2]))[0] == env.step(np.array([1, 2]))[0]).all()
    other = make_tiny_world()
    other.readout.out.bias.data += 1
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ShapeError, match="world="):
        begun(world=str(tmp_path / "other")).restore_state(state)


def test_a_simulators_state_belongs_to_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    env = begun(real=True)
    state = env.save_state()
    assert state["world"] == "PushT simulator 2"
    with pytest.raises(ShapeError, match="simulator 3"):
        env.restore_state({**state, "world": "PushT simulator 3"})


def test_an_ended_row_comes_back_only_where_rows_wait_at_their_end(bundle: str) -> None:
    settings: dict[str, Any] = {"world": bundle, "horizon": 3}
    env = begun(autoreset_mode="NEXT_STEP", **settings)
    assert env._episodes.done.all()
    state = env.save_state()
    again = begun(autoreset_mode="NEXT_STEP", **settings)
    again.restore_state(state)
    assert (again.step(np.array([1, 2]))[0] == env.step(np.array([1, 2]))[0]).all()
    with pytest.raises(ArgumentError, match="SAME_STEP"):
        begun(autoreset_mode="SAME_STEP", **settings).restore_state(state)


# -----------------------------------------------------------------------------------------------
# time limits


@pytest.mark.parametrize("name", [GENERATED, REAL])
def test_the_spec_tells_how_long_episodes_are(name: str) -> None:
    horizon = gymnasium.make(name).unwrapped.task.horizon
    assert gymnasium.make(name).spec.max_episode_steps == horizon
    assert gymnasium.make(name, horizon=7).spec.max_episode_steps == 7
    assert gymnasium.make(name, max_episode_steps=9).spec.max_episode_steps == 9
    assert gymnasium.make_vec(name, num_envs=2).spec.max_episode_steps == horizon
    assert gymnasium.make_vec(name, num_envs=2, max_episode_steps=6).spec.max_episode_steps == 6
    timed = TimeAwareObservation(gymnasium.make(name, horizon=7), flatten=False)
    assert timed.observation_space["time"].high == 7
    again = gymnasium.make(gymnasium.make(name, horizon=200).spec)
    assert again.unwrapped.batch.horizon == 200
    assert again.spec.max_episode_steps == 200
    assert gymnasium.make_vec(gymnasium.make_vec(name, horizon=200).spec).unwrapped.horizon == 200


def test_checkers_stay_silent_about_an_environment_with_a_limit_of_gymnasiums() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(GENERATED, max_episode_steps=10, render_mode="rgb_array")
        check_env(env.unwrapped)
        sb3_check_env(env)


def steps_to_truncation(env: gymnasium.Env) -> int:
    for step in range(1, 50):
        if env.step(0)[3]:
            return step
    raise AssertionError("never truncated")


def test_a_time_limit_counts_on_from_a_restored_state(bundle: str) -> None:
    env = gymnasium.make(GENERATED, world=bundle, max_episode_steps=10)
    env.reset(seed=0)
    for _ in range(5):
        env.step(0)
    state = env.unwrapped.save_state()
    for _ in range(4):
        env.step(0)
    for _ in range(2):
        env.unwrapped.restore_state(state)
        assert steps_to_truncation(env) == 5


def test_a_time_limit_that_counts_something_else_is_warned_of(bundle: str) -> None:
    class Repeated(gymnasium.Wrapper):
        def step(self, action: Any) -> Any:
            self.env.step(action)
            return self.env.step(action)

    env = TimeLimit(Repeated(gymnasium.make(GENERATED, world=bundle)), 10)
    env.reset(seed=0)
    state = env.unwrapped.save_state()
    with pytest.warns(UserWarning, match="horizon="):
        env.unwrapped.restore_state(state)


#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
# --------------------------------------------------------------------------------------------------- copies

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
    env = begun(world=str(tmp_path / "world"))
    pickled = pickle.dumps(env)
    world.readout.out.bias.data += 1
    world.save_pretrained(tmp_path / "world")
    shared_world.cache_clear()
    with pytest.raises(BundleError, match="other weights"):
        pickle.loads(pickled)
    shared_world.cache_clear()


# --------------------------------------------------------------------------------------------- torch's surroundings


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", [*KINDS, "simulator", "simulator's latents"])
def test_frames_do_not_depend_on_torchs_default_dtype(
    kind: str, dtype: torch.dtype, bundle: str
) -> None:
    simulated = (
        {"real": True}
        if kind == "simulator"
        else {"real": True, "observation": "latent", "backend": {"encoder": bundle}}
    )
    settings = {"world": bundle, **KINDS[kind]} if kind in KINDS else simulated

    def played() -> list[Any]:
        env = StreamDiTVectorEnv(2, **settings)
        results = [env.reset(seed=0)[0]]
        for actions in plan(2, 3):
            results += env.step(actions)[:2]
        return results

    expected = played()
    with default_dtype(dtype):
        found = played()
    for one, two in zip(expected, found, strict=True):
        assert one.dtype == two.dtype
        assert (one == two).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_a_live_stream_does_not_depend_on_torchs_default_dtype(dtype: torch.dtype) -> None:
    world = make_tiny_world()

    def played() -> list[Any]:
        live = LiveStream(
            world, partition="K4N2c1s2", transition=2, reference_simulator=True, seed=1
        )
        live.set_prompt("move left")
        frames = [frame for _ in range(4) for frame in live.step()]
        live.close()
        return frames

    expected = played()
    with default_dtype(dtype):
        found = played()
    for one, two in zip(expected, found, strict=True):
        assert np.array_equal(one.image, two.image)
        assert np.array_equal(one.simulator_image, two.simulator_image)
        assert one.readout == two.readout


@pytest.mark.parametrize(
    "around",
    [lambda: torch.autocast("cpu", torch.bfloat16), torch.inference_mode],
    ids=["autocast", "inference"],
)
def test_frames_do_not_depend_on_the_callers_context(
    around: Callable[[], Any], bundle: str
) -> None:
    for settings in (
        {"world": bundle},
        {"real": True, "observation": "latent", "backend": {"encoder": bundle}},
    ):
        env = StreamDiTVectorEnv(2, **settings)
        expected = [env.reset(seed=0)[0], env.step(np.array([1, 2]))[0]]
        with around():
            found = [env.reset(seed=0)[0], env.step(np.array([1, 2]))[0]]
        assert all((one == two).all() for one, two in zip(expected, found, strict=True))


# --------------------------------------------------------------------------------------------- threads and forks


@pytest.mark.parametrize(
    "settings", [{}, {"partition": "K4N2c1s1"}, {"backend": {"deterministic": True}}], ids=str
)
def test_threads_are_measured_at_the_first_reset_and_change_no_frame(
    settings: dict, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def measure(work: Callable[[], object], *, threads: int | None = None) -> int:
        calls.append(threads)
        for _ in range(3):
            work()
        return 2

    runs = []
    for choose in (measure, lambda work, threads=None: 2):
        monkeypatch.setattr(generated_backend, "choose_threads", choose)
        env = StreamDiTVectorEnv(2, world=bundle, **settings)
        runs.append(
            [
                env.reset(seed=0)[0],
                *(env.step(actions)[0] for actions in plan(2, 4)),
                env.reset()[0],
            ]
        )
    assert calls == [None] * (2 if "backend" in settings else 1), "once for each session"
    assert all((one == two).all() for one, two in zip(*runs, strict=True))


def test_the_number_of_threads_can_be_given(bundle: str) -> None:
    env = gymnasium.make(GENERATED, world=bundle, backend={"threads": 1})
    env.reset(seed=0)
    assert torch.get_num_threads() == 1
    for threads in (0, -1, 1.0, "2", True, 10**9):
        with pytest.raises(ArgumentError, match="threads"):
            gymnasium.make(GENERATED, world=bundle, backend={"threads": threads})


FORKED = """
import os, sys, gymnasium, numpy as np, torch, streamdit_gym
torch.set_num_threads(2)
env = gymnasium.make("StreamDiT/PushT-v0", world=sys.argv[1], backend={"threads": 2})
env.reset(seed=0)
env.step(1)
wide = torch.randn(1500, 1500)
(wide @ wide).sum()  # the parent's threads run
assert torch.get_num_threads() == 2
child = os.fork()
if child == 0:
    env.step(1)
    fresh = gymnasium.make("StreamDiT/PushT-v0", world=sys.argv[1])
    fresh.reset(seed=1)
    fresh.step(2)
    try:
        gymnasium.make("StreamDiT/PushT-v0", world=sys.argv[1], backend={"threads": 2}).reset()
    except streamdit_gym.errors.ArgumentError:
        os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
env.step(1)
assert torch.get_num_threads() == 2
print("fine")
"""

ASYNC = """
import sys, gymnasium, numpy as np, torch, streamdit_gym
torch.set_num_threads(2)
wide = torch.randn(1500, 1500)
(wide @ wide).sum()
envs = gymnasium.make_vec("StreamDiT/PushT-v0", num_envs=2, vectorization_mode="async", world=sys.argv[1])
envs.reset(seed=0)
envs.step(np.array([1, 2]))
envs.close()
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("script", [FORKED, ASYNC], ids=["fork", "async"])
def test_forked_processes_do_not_wait_for_threads_that_they_do_not_have(
    script: str, bundle: str
) -> None:
    surroundings = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, bundle],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=surroundings,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.stdout.strip() == "fine", done.stderr
