"""A checkpoint of an agent's training: whole at any moment, and nothing is lost by stopping."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from support.agents import SMALL, new_agent, numbers, small_training, trained_agent
from support.kills import survive

from streamdit_gym.agents import train_agent as train_module
from streamdit_gym.agents.agent_checkpoint import (
    CHECKPOINT,
    REPLAY_ARRAYS,
    GapCheck,
    Progress,
    checked_curve,
    read_checkpoint,
    write_checkpoint,
)
from streamdit_gym.agents.agent_config import ALGORITHMS, AgentTraining
from streamdit_gym.agents.policies.policy_file import load_agent
from streamdit_gym.agents.train_agent import train_agent
from streamdit_gym.agents.training_callback import TrainingCallback
from streamdit_gym.cli import main
from streamdit_gym.errors import ArgumentError, BundleError, BusyError, StorageError, StreamDiTError
from streamdit_gym.files import PART, folder_lock

CURVE = [(5, 1.0), (10, -2.5)]


def state_of(agent: BaseAlgorithm) -> dict[str, Any]:
    """Everything that an agent learns with, as one flat dictionary."""
    flat: dict[str, Any] = {"steps": agent.num_timesteps, "updates": agent._n_updates}
    for name, parameters in agent.get_parameters().items():
        flat |= _flat(name, parameters)
    flat["log_ent_coef"] = getattr(agent, "log_ent_coef", None)
    flat["exploration_rate"] = getattr(agent, "exploration_rate", None)
    buffer = getattr(agent, "replay_buffer", None)
    if buffer is not None:
        flat |= {name: torch.from_numpy(getattr(buffer, name)) for name in REPLAY_ARRAYS}
        flat |= {"position": buffer.pos, "full": buffer.full}
    return flat


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, (dict, list)):
        return {prefix: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {
        key: leaf for name, part in items for key, leaf in _flat(f"{prefix}.{name}", part).items()
    }


def assert_equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        if name.endswith(".lr"):  # set anew, by its schedule, before every update
            continue
        same = (
            torch.equal(value, second[name])
            if isinstance(value, torch.Tensor)
            else value == second[name]
        )
        assert same, name


@pytest.mark.parametrize("algo", list(ALGORITHMS))
@pytest.mark.parametrize(
    "steps", [40, 136]
)  # a replay buffer that is partly filled, and one that is full
def test_everything_comes_back(tmp_path: Path, algo: str, steps: int) -> None:
    config = small_training(algo)
    agent = trained_agent(config, steps)
    progress = Progress(trained_steps=steps, stopped="enough", curve=CURVE, gap=[])
    write_checkpoint(tmp_path / CHECKPOINT, agent, config, progress)
    saved = read_checkpoint(tmp_path / CHECKPOINT)
    assert saved.config == config
    assert saved.progress == progress
    restored = new_agent(config)
    saved.restore(restored)
    assert_equal(state_of(agent), state_of(restored))
    restored.learn(16, reset_num_timesteps=False)
    assert restored.num_timesteps >= steps + 16


def test_comparisons_come_back_also_those_of_earlier_versions(tmp_path: Path) -> None:
    check = GapCheck(step=64, generated=2.0, real=1.0, excess=1.0, exceeds=True)
    config = small_training("ppo")
    path = tmp_path / CHECKPOINT
    write_checkpoint(path, new_agent(config), config, Progress(gap=[check]))
    assert read_checkpoint(path).progress.gap == [check]
    content = torch.load(path, weights_only=True)
    earlier = {"step": 64, "imagined": 2.0, "real": 1.0, "over": 1.0, "beyond_chance": 1.0}
    content["progress"]["gap"] = [earlier]
    torch.save(content, path)
    assert read_checkpoint(path).progress.gap == [check]


def test_frames_in_the_replay_buffer_come_back(tmp_path: Path) -> None:
    config = small_training("dqn", "frame")
    agent = trained_agent(config, 12)
    write_checkpoint(tmp_path / CHECKPOINT, agent, config, Progress())
    restored = new_agent(config)
    read_checkpoint(tmp_path / CHECKPOINT).restore(restored)
    before: Any = agent.replay_buffer
    after: Any = restored.replay_buffer
    assert np.array_equal(before.observations, after.observations)
    assert restored.replay_buffer.pos == 6  # type: ignore[attr-defined]


def test_a_checkpoint_that_is_cut_or_foreign_is_named(tmp_path: Path) -> None:
    config, path = small_training(), tmp_path / CHECKPOINT
    write_checkpoint(path, new_agent(config), config, Progress())
    whole = path.read_bytes()
    for content in (b"", b"x", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(BundleError, match=r"a checkpoint cannot be read[^$]*checkpoint\.pt"):
            read_checkpoint(path)
    path.write_bytes(whole)
    newer = {**torch.load(path, weights_only=True), "format": 2}
    for foreign in ({"step": 3}, [1], {"format": 1}, newer):
        torch.save(foreign, path)
        with pytest.raises(BundleError, match="a checkpoint cannot be read"):
            read_checkpoint(path)


def change_entry(path: Path, entry: str, change: Callable[[dict[str, Any]], None]) -> None:
    content = torch.load(path, weights_only=True)
    change(content[entry])
    torch.save(content, path)


WRONG: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("agent", lambda agent: agent["policy"].popitem()),
    ("agent", lambda agent: agent["policy"].update({"q_net.q_net.0.bias": torch.zeros(3)})),
    ("agent", lambda agent: agent["policy"]["q_net.q_net.0.bias"].fill_(float("nan"))),
    ("agent", lambda agent: agent["optimizers"].clear()),
    (
        "agent",
        lambda agent: agent["optimizers"]["policy.optimizer"][0].update(exp_avg=torch.zeros(3)),
    ),
    ("agent", lambda agent: agent["optimizers"]["policy.optimizer"].update({99: {}})),
    ("agent", lambda agent: agent["counters"].update(num_timesteps=-1)),
    ("agent", lambda agent: agent["counters"].update(_n_calls="many")),
    ("agent", lambda agent: agent.update(exploration_rate=float("nan"))),
    ("replay_buffer", lambda buffer: buffer.update(position=10**6)),
    ("replay_buffer", lambda buffer: buffer.update(full=True)),
    ("replay_buffer", lambda buffer: buffer.update(rewards=torch.zeros(3))),
    ("replay_buffer", lambda buffer: buffer.update(dones=buffer["dones"].double())),
    ("replay_buffer", lambda buffer: buffer["rewards"].fill_(float("inf"))),
    ("replay_buffer", lambda buffer: buffer.pop("actions")),
]


@pytest.mark.parametrize(("entry", "change"), WRONG)
def test_a_checkpoint_that_does_not_fit_is_named(
    tmp_path: Path, entry: str, change: Callable[[dict[str, Any]], None]
) -> None:
    config, path = small_training("dqn"), tmp_path / CHECKPOINT
    write_checkpoint(path, trained_agent(config), config, Progress())
    change_entry(path, entry, change)
    with pytest.raises(BundleError, match="the checkpoint does not fit the agent"):
        read_checkpoint(path).restore(new_agent(config))


def test_progress_in_a_checkpoint_is_checked(tmp_path: Path) -> None:
    config, path = small_training(), tmp_path / CHECKPOINT
    for change in (
        {"trained_steps": -1},
        {"stopped": 3},
        {"curve": [[1]]},
        {"curve": [[1, float("nan")]]},
        {"gap": [{}]},
    ):
        write_checkpoint(path, new_agent(config), config, Progress())
        change_entry(path, "progress", lambda progress, change=change: progress.update(change))
        with pytest.raises(BundleError, match="a checkpoint cannot be read"):
            read_checkpoint(path)


def test_a_curve_from_a_file_is_checked() -> None:
    assert checked_curve([[5, 1], (10, -2.5)]) == CURVE
    for wrong in (None, {}, [3], [[1, 2, 3]], [["1", 2]], [[1, float("inf")]], [[-1, 2]]):
        with pytest.raises(ArgumentError):
            checked_curve(wrong)


# --- a run on random numbers


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Train in a folder, on an environment of random numbers in place of a world."""

    def make_venv(env: str, num_envs: int, **settings: Any):
        return numbers(
            AgentTraining(
                algo="sac" if settings["scored"] else "ppo", observation=settings["observation"]
            )
        )

    monkeypatch.setattr(train_module, "make_venv", make_venv)

    def train(steps: int, algo: str = "ppo", *, resume: bool = True, **settings: Any):
        config = small_training(algo, steps=steps, check_every=16, **settings)
        return train_agent(config, tmp_path / "run", progress=False, resume=resume)

    return train


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_a_write_that_fails_anywhere_leaves_a_whole_checkpoint(
    tmp_path: Path, run: Callable[..., Any], algo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail at the first replacement of a file, then at the second, and so on,
    until a run gets through.
    """
    replace, folder = os.replace, tmp_path / "run"
    left = 0  # replacements that may still be done

    def failing(source: Any, target: Any) -> None:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    failures = 0
    while True:
        left = failures
        try:
            learned, _ = run(48, algo)
            break
        except StorageError:
            failures += 1
        assert not list(folder.glob(f"{PART}*"))
        if failures > 1:  # the first of all is the checkpoint
            assert read_checkpoint(folder / CHECKPOINT).progress.trained_steps >= 16
        if failures > 2:
            assert load_agent(folder).config.algo == algo
    assert failures >= 4
    assert learned.agent.num_timesteps >= 48
    assert json.loads((folder / "agent.json").read_text())["trained_steps"] >= 48


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    folder = tmp_path / "run"
    (folder / f"{PART}abc").mkdir(parents=True)
    (folder / f"{PART}abc" / CHECKPOINT).write_bytes(b"half")
    (folder / "agent.zip").write_bytes(b"half of an older version's")
    run(16)
    assert not list(folder.rglob(f"{PART}*"))
    assert read_checkpoint(folder / CHECKPOINT).progress.trained_steps >= 16


@pytest.mark.parametrize("kept", [["checkpoint.pt"], ["checkpoint.pt", "policy.safetensors"]])
def test_what_is_missing_beside_the_checkpoint_is_written_again(
    tmp_path: Path, run: Callable[..., Any], kept: list[str]
) -> None:
    folder = tmp_path / "run"
    first, points = run(32)
    for path in folder.iterdir():
        if path.is_file() and path.name not in kept:
            path.unlink()
    again, same = run(32)
    assert same == points
    assert_equal(state_of(first.agent), state_of(again.agent))
    written = {path.name for path in folder.iterdir() if path.is_file()}
    assert written == {
        "agent.json",
        "agent.zip",
        "checkpoint.pt",
        "curve.json",
        "gap.json",
        "policy.safetensors",
    }


def test_other_settings_are_refused_and_more_steps_are_not(run: Callable[..., Any]) -> None:
    run(16)
    with pytest.raises(StreamDiTError, match="another seed"):
        run(32, seed=1)
    learned, _ = run(64)
    assert learned.agent.num_timesteps == 64


def test_fewer_steps_than_are_done_train_nothing(run: Callable[..., Any]) -> None:
    first, points = run(48)
    again, same = run(16)
    assert again.agent.num_timesteps == first.agent.num_timesteps == 48
    assert same == points
    assert again.config == first.config


def test_ctrl_c_keeps_what_is_learned(
    tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TrainingCallback._on_step

    def interrupted(callback: Any) -> bool:
        if callback.num_timesteps >= 24:
            raise KeyboardInterrupt
        return step(callback)

    monkeypatch.setattr(TrainingCallback, "_on_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(48)
    assert read_checkpoint(tmp_path / "run" / CHECKPOINT).progress.trained_steps == 24


def test_a_folder_in_which_another_process_works_is_left_alone(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    with (
        folder_lock(tmp_path / "run"),
        pytest.raises(BusyError, match="another process works here"),
    ):
        run(16)
    assert not list((tmp_path / "run").iterdir())


def test_the_commands_name_a_busy_folder_and_one_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with folder_lock(tmp_path):
        assert main(["rl", "train", "--steps", "16", "--out", str(tmp_path)]) == 2
        assert "another process works here" in capsys.readouterr().err
    (tmp_path / "file").touch()
    out = ["--out", str(tmp_path / "file" / "out"), "--episodes", "1"]
    assert main(["rl", "train", "--steps", "16", *out]) == 2
    assert "cannot write" in capsys.readouterr().err
    evaluate = ["rl", "evaluate", "random", "--env", "StreamDiT/PushT-Reach-Real-v0"]
    assert main([*evaluate, *out]) == 2
    assert "cannot write" in capsys.readouterr().err


# --- kills


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "observation"), [("ppo", "state"), ("dqn", "frame")])
def test_training_survives_kills(
    tmp_path: Path, tiny_bundle: str, algo: str, observation: str
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "tiny")
    small = {**SMALL[algo], **({} if algo == "ppo" else {"buffer_size": 2000})}
    small.pop("policy_kwargs", None)
    steps = int(os.environ.get("KILL_STEPS", "64"))
    options = {
        "algo": algo,
        "observation": observation,
        "world": bundle,
        "steps": steps,
        "episodes": 2,
        "out": tmp_path / "run",
    }
    small = {**small, "num_envs": 2, "check_every": 4, "check_episodes": 0}
    command = [sys.executable, "-m", "streamdit_gym", "rl", "train", "--resume"]
    command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command += ["--set", *(f"{name}={value}" for name, value in small.items())]
    begun = time.monotonic()
    subprocess.run(
        [*command[: -len(small) - 1], "--help"], check=True, capture_output=True
    )  # imports alone
    survival = survive(command, longest_s=time.monotonic() - begun + 8)
    print(f"{algo} {observation}: survived {survival.kills} kills")
    folder = tmp_path / "run" / "seed-0"
    assert read_checkpoint(folder / CHECKPOINT).progress.trained_steps >= steps
    assert load_agent(folder).config.algo == algo
    assert not list(folder.rglob(f"{PART}*"))
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
