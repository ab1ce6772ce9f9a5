"""What agents observe of a world's latents, and a small policy network on latents."""

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
    pixels = torch.from_numpy(frames)[:, None]
    return world.codec.encode(pixels.to(world.device))


@torch.no_grad()
def observe(world: World, latents: Float[Tensor, "n 1 c g g"], observation: str) -> np.ndarray:
    """Return latents as the environments of a world show them.

    Args:
        world: the world.
        latents: one frame's latents per row.
        observation: ``"frame"``, ``"latent"``, or ``"state"``, the world's readout.
    """
    if observation == "frame":
        observations = world.codec.decode(latents)[:, 0]
    elif observation == "latent":
        observations = latents[:, 0].float()
    else:
        observations = read_latents(world.readout, latents[:, 0])
    return observations.cpu().numpy()


class LatentFeatures(BaseFeaturesExtractor):
    """A small network on latents, for environments with ``observation="latent"``.

    Use it as ``policy_kwargs={"features_extractor_class": LatentFeatures}`` of an ``MlpPolicy``.

    Args:
        observation_space: latents, (c, h, w).
        features_dim: numbers that the policy's own layers are given.
    """

    def __init__(self, observation_space: spaces.Box, features_dim: int = 128) -> None:
        super().__init__(observation_space, features_dim)
        channels, rows, columns = observation_space.shape
        cells_after_stride = -(-rows // 2) * -(-columns // 2)
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64 * cells_after_stride, features_dim),
            nn.SiLU(),
        )

    def forward(self, observations: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Return features."""
        features: Tensor = self.body(observations)
        return features
