"""Saved states: refused as a whole or restored as a whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_tiny_world
from support.edits import edited, same
from support.envs import endless_bundle, env_in_episode, idle_actions

import streamdit_gym  # noqa: F401  (registers the ids)
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import ArgumentError, ShapeError, StreamDiTError

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny world in which no task is ever done: episodes end for the tested reason alone."""
    return endless_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


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
            env.step(idle_actions(env))
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
    return env_in_episode(**settings), other.save_state()


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


def test_a_state_of_the_format_before_is_still_read(bundle: str) -> None:
    env = env_in_episode(world=bundle)
    state = env.save_state()
    earlier = {name: value for name, value in state.items() if name != "observed"}
    earlier |= {"format": 2, "seen": state["observed"]}
    here = env.restore_state(state)
    env.step(np.array([1, 2])[: env.num_envs])
    assert np.array_equal(env.restore_state(earlier), here)
    with pytest.raises(ShapeError, match="missing: observed"):
        env.restore_state({**earlier, "format": 1})


def test_what_is_wrong_with_a_state_is_named(bundle: str) -> None:
    env = env_in_episode(world=bundle)
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
    env = env_in_episode(real=True)
    state = env.save_state()
    with pytest.raises(ArgumentError, match="allowed"):
        env.restore_state({**state, "backend": [state["backend"][0], saved]})
    assert same(env.save_state(), state)


def test_a_simulator_of_somebody_elses_may_fail_as_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = env_in_episode(real=True)
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
    env = env_in_episode(world=bundle)
    state = env.save_state()
    shutil.copytree(bundle, tmp_path / "elsewhere")
    moved = env_in_episode(world=str(tmp_path / "elsewhere"))
    moved.restore_state(state)
    assert (moved.step(np.array([1, 2]))[0] == env.step(np.array([1, 2]))[0]).all()
    other = make_tiny_world()
    other.readout.out.bias.data += 1
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ShapeError, match="world="):
        env_in_episode(world=str(tmp_path / "other")).restore_state(state)


def test_a_simulators_state_belongs_to_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    env = env_in_episode(real=True)
    state = env.save_state()
    assert state["world"] == "PushT simulator 2"
    with pytest.raises(ShapeError, match="simulator 3"):
        env.restore_state({**state, "world": "PushT simulator 3"})


def test_an_ended_row_comes_back_only_where_rows_wait_at_their_end(bundle: str) -> None:
    settings: dict[str, Any] = {"world": bundle, "horizon": 3}
    env = env_in_episode(autoreset_mode="NEXT_STEP", **settings)
    assert env._episodes.done.all()
    state = env.save_state()
    again = env_in_episode(autoreset_mode="NEXT_STEP", **settings)
    again.restore_state(state)
    assert (again.step(np.array([1, 2]))[0] == env.step(np.array([1, 2]))[0]).all()
    with pytest.raises(ArgumentError, match="SAME_STEP"):
        env_in_episode(autoreset_mode="SAME_STEP", **settings).restore_state(state)
