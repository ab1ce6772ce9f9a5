"""Frames as an agent observes them, through a world's autoencoder and readout, and a policy's
network on latents.

Takes: frames or latents.  Gives: observations.  Knows nothing of: tasks, algorithms.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float, UInt8
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from streamdit_gym.envs.backend import read_latents
from streamdit_gym.world import World


@torch.no_grad()
def encode(world: World, frames: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 1 c g g"]:
    """Return a world's latents of some frames."""
    return world.codec.encode(torch.from_numpy(frames)[:, None].to(world.device))


@torch.no_grad()
def see(world: World, latents: Float[Tensor, "n 1 c g g"], observation: str) -> np.ndarray:
    """Return latents as an agent sees them: frames, the latents themselves,
    or what the world's heads read off them.
    """
    if observation == "frame":
        return world.codec.decode(latents)[:, 0].cpu().numpy()
    if observation == "latent":
        return latents[:, 0].float().cpu().numpy()
    return read_latents(world.readout, latents[:, 0]).cpu().numpy()


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
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64 * (-(-grid // 2)) ** 2, features_dim),
            nn.SiLU(),
        )

    def forward(self, observations: Float[Tensor, "n c g g"]) -> Float[Tensor, "n d"]:
        """Return features."""
        features: Tensor = self.body(observations)
        return features
