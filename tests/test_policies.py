"""Policy files: they play as what they were written from,
and whatever is wrong with one is named.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations
from support.agents import SPACES, new_agent, small_training, trained_agent

from streamdit_gym.actions import Menu
from streamdit_gym.agents.agent_config import ALGORITHMS, training_from_json
from streamdit_gym.agents.policies.policy_file import (
    TrainedAgent,
    load_agent,
    load_policy_file,
    save_policy,
)
from streamdit_gym.agents.policies.trained_policy import TrainedPolicy
from streamdit_gym.errors import BundleError, ShapeError, StreamDiTError
from streamdit_gym.world import find_world


def observations(kind: str, count: int = 16) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (count, *SPACES[kind].shape)
    if kind == "frame":
        return rng.integers(256, size=shape, dtype=np.uint8)
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("algo", list(ALGORITHMS))
@pytest.mark.parametrize("observation", ["state", "latent", "frame"])
def test_a_policy_file_plays_as_the_agent_does(tmp_path: Path, algo: str, observation: str) -> None:
    config = small_training(algo, observation)
    agent = new_agent(config)
    save_policy(tmp_path / "policy.safetensors", TrainedAgent(agent=agent, config=config))
    loaded = load_agent(tmp_path)
    assert loaded.config == config
    seen = observations(observation)
    for deterministic in (True, False):
        actions = []
        for player in (agent, loaded.agent):
            torch.manual_seed(3)
            np.random.seed(3)
            player.action_space.seed(3)
            actions.append([player.predict(seen, deterministic=deterministic)[0] for _ in range(4)])
        assert np.array_equal(*actions)


class Listener:
    """Stands for an agent, and keeps what it is shown."""

    def predict(self, observation: np.ndarray, deterministic: bool) -> tuple[np.ndarray, None]:
        self.observation = observation
        return np.zeros(len(observation), dtype=int), None


@pytest.mark.parametrize("kind", ["state", "latent", "frame"])
def test_a_policy_stacks_what_it_sees_as_stable_baselines3_does(kind: str) -> None:
    channels = "first" if kind == "latent" else "last"
    expected = StackedObservations(4, 3, SPACES[kind], channels)
    agent: Any = Listener()
    config = small_training("ppo", kind, frame_stack=3)
    policy = TrainedPolicy(TrainedAgent(agent=agent, config=config))
    rng = np.random.default_rng(1)
    policy.reset(4, Menu("stay", "go"), rng)
    first = observations(kind, 4)
    policy.act(first, np.ones(4, dtype=bool))
    assert np.array_equal(agent.observation, expected.reset(first))
    for _ in range(12):
        observation = (first + rng.integers(1, 9)).astype(first.dtype)
        starts = rng.random(4) < 0.3
        infos = [{"terminal_observation": observation[row]} for row in range(4)]
        policy.act(observation, starts)
        assert np.array_equal(agent.observation, expected.update(observation, starts, infos)[0])


def test_exploration_is_kept(tmp_path: Path) -> None:
    config = small_training("dqn")
    agent = trained_agent(config, steps=16)
    agent.exploration_rate = 0.5  # type: ignore[attr-defined]
    save_policy(tmp_path / "policy.safetensors", TrainedAgent(agent=agent, config=config))
    loaded = load_agent(tmp_path).agent
    seen = observations("state")
    np.random.seed(0)
    loaded.action_space.seed(0)
    greedy = loaded.predict(seen, deterministic=True)[0]
    same = [np.array_equal(loaded.predict(seen)[0], greedy) for _ in range(200)]
    assert 0.35 < np.mean(same) < 0.65


def test_a_policy_can_be_written_again(tmp_path: Path) -> None:
    config = small_training("sac", "latent")
    save_policy(tmp_path / "a.safetensors", TrainedAgent(agent=new_agent(config), config=config))
    save_policy(tmp_path / "b.safetensors", load_policy_file(tmp_path / "a.safetensors"))
    first, second = load_file(tmp_path / "a.safetensors"), load_file(tmp_path / "b.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    config = small_training()
    save_policy(
        tmp_path / "policy.safetensors", TrainedAgent(agent=new_agent(config), config=config)
    )
    before = torch.get_rng_state()
    load_agent(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_other_observations_are_refused(tmp_path: Path) -> None:
    config = small_training()
    save_policy(
        tmp_path / "policy.safetensors", TrainedAgent(agent=new_agent(config), config=config)
    )
    with pytest.raises(ShapeError, match="trained on other observations"):
        load_agent(tmp_path).agent.predict(np.zeros((2, 11), np.float32))


def test_the_shipped_agent_is_a_policy_file() -> None:
    folder = find_world("PushT") / "agents" / "reach"
    assert load_agent(folder).config.algo == "ppo"
    assert not list(folder.glob("*.zip"))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("honest") / "policy.safetensors"
    config = small_training()
    save_policy(path, TrainedAgent(agent=new_agent(config), config=config))
    return path


def contents(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["policy"]), load_file(path)


def write(path: Path, about: Any, tensors: dict[str, torch.Tensor]) -> None:
    save_file(
        tensors, path, metadata={"policy": about if isinstance(about, str) else json.dumps(about)}
    )


WRONG_ENTRIES = [
    {"format": 2},
    {"format": "1"},
    {"surprise": 1},
    {"training": None},
    {"training": {"env": "elsewhere"}},
    {"training": {"surprise": 1}},
    {"training": {"num_envs": float("nan")}},
    {"training": {"algo": "os.system"}},
    {"training": {"algo": "sac"}},
    {"training": {"observation": "frame"}},
    {"policy_kwargs": {"net_arch": [10**9]}},
    {"policy_kwargs": {"net_arch": [64] * 1000}},
    {"policy_kwargs": {"net_arch": [32]}},
    {"policy_kwargs": {"net_arch": {"pi": 5}}},
    {"policy_kwargs": {"net_arch": {"qf": [8]}}},
    {"policy_kwargs": {"activation_fn": "os.system"}},
    {"policy_kwargs": {"n_critics": 2}},
    {"policy_kwargs": {"features_extractor_kwargs": {"features_dim": 5}}},
    {"observation_shape": [10**12]},
    {"observation_shape": [10, 10, 10]},
    {"observation_shape": [11]},
    {"observation_shape": "10"},
    {"num_actions": 0},
    {"num_actions": True},
    {"num_actions": 10**9},
    {"exploration_rate": float("inf")},
    {"exploration_rate": -1},
]


@pytest.mark.parametrize("change", WRONG_ENTRIES, ids=str)
def test_settings_that_do_not_hold_are_refused(
    tmp_path: Path, honest: Path, change: dict[str, Any]
) -> None:
    about, tensors = contents(honest)
    write(tmp_path / "policy.safetensors", {**about, **change}, tensors)
    with pytest.raises(BundleError, match="a policy file cannot be used"):
        load_agent(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", "[" * 200_000, '{"format": 1}'])
def test_text_that_is_no_settings_is_refused(tmp_path: Path, honest: Path, text: str) -> None:
    write(tmp_path / "policy.safetensors", text, contents(honest)[1])
    with pytest.raises(BundleError, match="a policy file cannot be"):
        load_agent(tmp_path)


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, honest: Path) -> None:
    about, tensors = contents(honest)
    name = "action_net.weight"
    lacking = {key: tensor for key, tensor in tensors.items() if key != name}
    wrong = [
        lacking,
        {**tensors, "surprise": torch.zeros(1)},
        {**tensors, name: tensors[name][:5].clone()},
        {**tensors, name: tensors[name].half()},
        {**tensors, name: torch.full_like(tensors[name], float("nan"))},
    ]
    for number, changed in enumerate(wrong):
        path = tmp_path / f"{number}.safetensors"
        write(path, about, changed)
        with pytest.raises(BundleError, match="a policy file cannot be used"):
            load_agent(path)


def test_a_file_that_is_cut_or_foreign_is_refused(tmp_path: Path, honest: Path) -> None:
    whole = honest.read_bytes()
    path = tmp_path / "policy.safetensors"
    for content in (
        b"",
        b"{}",
        whole[:4],
        whole[:100],
        whole[: len(whole) // 2],
        whole[:-1],
        b"\xff" * 100,
    ):
        path.write_bytes(content)
        with pytest.raises(BundleError, match="a policy file cannot be read"):
            load_agent(tmp_path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(BundleError, match="a policy file cannot be read"):
        load_agent(tmp_path)


def test_training_settings_from_a_file_are_checked() -> None:
    for values in (
        None,
        [],
        {1: 2},
        {"seed": -1},
        {"overrides": {"gamma": "x"}},
        {"overrides": {"policy": "x"}},
    ):
        with pytest.raises(StreamDiTError):
            training_from_json(values)
