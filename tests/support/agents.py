"""Agents that need no world: algorithms of Stable-Baselines3 on an environment of random
numbers.
"""

from __future__ import annotations

import base64
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from streamdit_gym.agents.agent_config import ALGORITHMS, CONTINUOUS_ALGORITHMS, AgentTraining
from streamdit_gym.agents.train_agent import hyperparameters

SPACES = {
    "state": spaces.Box(-np.inf, np.inf, (10,), np.float32),
    "latent": spaces.Box(-np.inf, np.inf, (8, 8, 8), np.float32),
    "frame": spaces.Box(0, 255, (64, 64, 3), np.uint8),
}
NETWORK = {"net_arch": [16, 16]}
REPLAY = {
    "learning_starts": 4,
    "batch_size": 8,
    "buffer_size": 60,
    "train_freq": 2,
    "gradient_steps": 1,
}
SMALL: dict[str, dict[str, Any]] = {
    "ppo": {
        "n_steps": 8,
        "batch_size": 8,
        "n_epochs": 1,
        "policy_kwargs": {**NETWORK, "ortho_init": False},
    },
    "dqn": {**REPLAY, "policy_kwargs": NETWORK},
    "sac": {**REPLAY, "policy_kwargs": NETWORK},
    "td3": {**REPLAY, "policy_kwargs": NETWORK},
}


class Numbers(gymnasium.Env):
    """Random observations, episodes of five steps."""

    def __init__(self, observation: str, algo: str) -> None:
        self.observation_space = SPACES[observation]
        scored = spaces.Box(-1, 1, (9,), np.float32)
        self.action_space = scored if algo in CONTINUOUS_ALGORITHMS else spaces.Discrete(9)
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return (
            self.observation_space.sample(),
            float(np.random.normal()),
            False,
            self.steps == 5,
            {},
        )


def numbers(config: AgentTraining) -> VecEnv:
    """Two environments as an agent of these settings sees them."""
    return DummyVecEnv([lambda: Numbers(config.observation, config.algo)] * 2)


def small_training(algo: str = "ppo", observation: str = "state", **settings: Any) -> AgentTraining:
    return AgentTraining(
        algo=algo, observation=observation, num_envs=2, overrides=SMALL[algo], **settings
    )


def new_agent(config: AgentTraining) -> BaseAlgorithm:
    return ALGORITHMS[config.algo](
        env=numbers(config), seed=config.seed, device="cpu", **hyperparameters(config)
    )


def trained_agent(config: AgentTraining, steps: int = 48) -> BaseAlgorithm:
    return new_agent(config).learn(steps)


class _MakesFolder:
    """Unpickled, it makes a folder: what a hostile agent would do, and worse."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder, 0o777, True, True)


def hostile_pickle(trap: Path) -> bytes:
    """A pickle that makes the folder `trap` when it is loaded."""
    return pickle.dumps(_MakesFolder(trap))


def write_hostile_agent(folder: Path, trap: Path) -> None:
    """Write an ``agent.zip`` that plays like any other and makes the folder `trap` when it is
    loaded.
    """
    config = small_training()
    folder.mkdir(parents=True, exist_ok=True)
    new_agent(config).save(folder / "honest.zip")
    with (
        zipfile.ZipFile(folder / "honest.zip") as honest,
        zipfile.ZipFile(folder / "agent.zip", "w") as hostile,
    ):
        for name in honest.namelist():
            content = honest.read(name)
            if name == "data":
                code = base64.b64encode(hostile_pickle(trap)).decode()
                content = json.dumps(
                    {**json.loads(content), "start_time": {":type:": "int", ":serialized:": code}}
                ).encode()
            hostile.writestr(name, content)
    (folder / "honest.zip").unlink()
    about = {**config.__dict__, "trained_steps": 0, "stopped": ""}
    (folder / "agent.json").write_text(json.dumps(about))
    (folder / "curve.json").write_text("[]")
    (folder / "replay_buffer.pkl").write_bytes(hostile_pickle(trap))
