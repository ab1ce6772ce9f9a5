"""PPO on a world, through the world's own eyes.

Takes: an environment id.  Gives: a trained agent on disk.  Knows nothing of: how frames are made.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env.base_vec_env import VecEnv
from stable_baselines3.common.vec_env.vec_monitor import VecMonitor
from tqdm import tqdm

import streamdit_gym
from streamdit_gym.agents.features import WorldEyes
from streamdit_gym.agents.sb3_vec_env import SB3VecEnv
from streamdit_gym.agents.scores import Player
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import BundleError


@dataclass(frozen=True, kw_only=True)
class AgentTraining:
    """How an agent is trained; found by trying them in the twin (docs/decisions/0004).

    Attributes:
        env: id of the environment.
        steps: environment steps in all.
        num_envs: environments in one batch.
        seed: of policy and environments.
        rollout: steps per environment between updates.
        epochs: passes over a rollout.
        batch: steps per gradient step.
        learning_rate: of Adam, falling to zero linearly.
        gamma: discount.
        entropy: weight of the entropy bonus.
        width: neurons in each of the two hidden layers.
    """

    env: str = "StreamDiT/PushT-Reach-v0"
    steps: int = 30_000
    num_envs: int = 16
    seed: int = 0
    rollout: int = 64
    epochs: int = 10
    batch: int = 128
    learning_rate: float = 1e-3
    gamma: float = 0.97
    entropy: float = 0.01
    width: int = 64


def make_venv(env: str, num_envs: int, *, world: str | None = None, eyes: bool = True, **settings: Any) -> VecEnv:
    """Return environments as an agent sees them: adapter, episode statistics, the world's eyes.

    Args:
        env: id, generated or real.
        num_envs: number of environments.
        world: a bundle other than the id's own; for a real id only the eyes are taken from it.
        eyes: whether to look through the world's eyes; without them observations are frames.
        **settings: of the environment.
    """
    streamdit_gym.register()
    own = gymnasium.spec(env).kwargs
    if world is not None and not own.get("real"):
        settings["world"] = world
    venv = VecMonitor(SB3VecEnv(gymnasium.make_vec(env, num_envs=num_envs, **settings)))
    return venv if not eyes else WorldEyes(venv, shared_world(world or own["world"], settings.get("device", "cpu")))


class Curve(BaseCallback):
    """Keeps the return of every finished episode with the step it ended at, and shows a progress bar.

    Args:
        steps: environment steps in all.
        progress: whether to show the bar.
    """

    def __init__(self, steps: int, progress: bool) -> None:
        super().__init__()
        self.points: list[tuple[int, float]] = []
        self.bar = tqdm(total=steps, desc="PPO", unit="step", disable=not progress)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.points.append((self.num_timesteps, float(info["episode"]["r"])))
        self.bar.update(self.training_env.num_envs)
        if self.points and self.n_calls % 20 == 0:
            recent = [value for _, value in self.points[-50:]]
            self.bar.set_postfix_str(f"return of the last {len(recent)} episodes {sum(recent) / len(recent):.2f}")
        return True


def train_agent(config: AgentTraining, folder: Path, *, progress: bool = True, **settings: Any) -> tuple[PPO, list[tuple[int, float]]]:
    """Train PPO and write ``agent.zip``, ``agent.json`` and ``curve.json`` into a folder.

    Ctrl-C stops early and keeps what is learned.

    Args:
        config: how to train.
        folder: where to write.
        progress: whether to show a progress bar.
        **settings: of the environment.

    Returns:
        The agent, and (step, return) of every finished episode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    venv = make_venv(config.env, config.num_envs, **settings)
    agent = PPO(
        "MlpPolicy", venv, n_steps=config.rollout, batch_size=config.batch, n_epochs=config.epochs, gamma=config.gamma,
        learning_rate=lambda left: config.learning_rate * left, ent_coef=config.entropy, seed=config.seed, device="cpu",
        policy_kwargs={"net_arch": [config.width, config.width], "activation_fn": torch.nn.Tanh},
    )  # fmt: skip
    venv.seed(config.seed * 10_007)  # after PPO, which seeds them too, and would let neighbouring seeds share streams
    curve = Curve(config.steps, progress)
    try:
        with curve.bar:
            agent.learn(config.steps, callback=curve)
    finally:
        agent.save(folder / "agent.zip")
        (folder / "agent.json").write_text(json.dumps({**asdict(config), "trained_steps": agent.num_timesteps}, indent=1))
        (folder / "curve.json").write_text(json.dumps(curve.points))
        venv.close()
    return agent, curve.points


def load_agent(folder: Path) -> PPO:
    """Load an agent.

    Raises:
        BundleError: if the folder holds none.
    """
    if not (folder / "agent.zip").is_file():
        raise BundleError(
            "no agent here", given=folder, allowed="a folder with agent.zip", remedy="train one: streamdit-gym agent --out FOLDER"
        )
    return PPO.load(folder / "agent.zip", device="cpu")


def player_of(agent: PPO, *, deterministic: bool = False) -> Player:
    """Return a player that follows an agent's policy."""

    def act(observation: Any, _starts: np.ndarray) -> np.ndarray:
        return agent.predict(observation, deterministic=deterministic)[0]

    return act
