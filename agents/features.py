"""The world's own eyes: frames seen through its codec and heads.

Takes: frames.  Gives: a handful of numbers per frame for a small policy.  Knows nothing of: tasks, algorithms.

The same eyes look at generated and at real frames, so an agent trained on one can play on the other. They are frozen,
and each frame is looked at once, when it is made, not at every update of the policy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float, UInt8
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvStepReturn, VecEnvWrapper
from torch import Tensor, nn

from streamdit_gym.world import World


@torch.no_grad()
def encode(world: World, frames: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 1 c g g"]:
    """Return a world's latents of some frames."""
    return world.codec.encode(torch.from_numpy(frames)[:, None].to(world.device))


@torch.no_grad()
def see(world: World, latents: Float[Tensor, "n 1 c g g"], observation: str) -> np.ndarray:
    """Return latents as an agent sees them: frames, the latents themselves, or what the world's heads read off them."""
    if observation == "frame":
        return world.codec.decode(latents)[:, 0].cpu().numpy()
    if observation == "latent":
        return latents[:, 0].float().cpu().numpy()
    return world.heads.raw(latents)[:, 0].float().clamp(-10, 10).cpu().numpy()


class LatentFeatures(BaseFeaturesExtractor):
    """A small network on latents, for environments with ``observation="latent"``.

    Use it as ``policy_kwargs={"features_extractor_class": LatentFeatures}`` of an ``MlpPolicy``.

    Args:
        observation_space: latents, (c, g, g).
        features_dim: numbers handed on.
    """

    def __init__(self, observation_space: spaces.Box, features_dim: int = 128) -> None:
        super().__init__(observation_space, features_dim)
        channels, grid, _ = observation_space.shape
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.SiLU(), nn.Flatten(),
            nn.Linear(64 * (-(-grid // 2)) ** 2, features_dim), nn.SiLU(),
        )  # fmt: skip

    def forward(self, observations: Float[Tensor, "n c g g"]) -> Float[Tensor, "n d"]:
        """Return features."""
        features: Tensor = self.body(observations)
        return features


class WorldEyes(VecEnvWrapper):
    """Replaces frames by what the world's heads read off them: standardised state and scores.

    Args:
        venv: environments with (h, w, 3) frames.
        world: whose codec and heads to look through.
    """

    def __init__(self, venv: VecEnv, world: World) -> None:
        count = len(world.spec.state_names) + len(world.spec.score_names)
        super().__init__(venv, observation_space=spaces.Box(-np.inf, np.inf, (count,), np.float32))
        self.world = world

    def reset(self) -> Any:
        """Reset, and look at the first frames."""
        frames: Any = self.venv.reset()
        return self.look(frames)

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and look at the new frames and at the last frames of ended episodes."""
        frames, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self.look(info["terminal_observation"][None])[0]
        seen: Any = frames
        return self.look(seen), rewards, dones, infos

    def look(self, frames: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n o"]:
        """Return what the heads read off some frames."""
        return see(self.world, encode(self.world, frames), "state")
