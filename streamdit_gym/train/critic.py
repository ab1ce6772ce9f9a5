"""The critic: tells real latent frames from generated ones, so that what is drawn stays whole.

Takes: real and generated latent frames.  Gives: a loss for each side.  Knows nothing of: the transformer, time, prompts.

A regression answers an uncertain place with a mean of places: a T without corners. The critic prefers any one whole T to
that mean. It looks at single frames, so it also judges rollouts that have long left the recorded episode and have no truth
to be compared with (docs/decisions/0006).
Source: the relativistic loss of R3GAN (Huang et al., arXiv 2501.05441); gradient penalties by finite differences after
adversarial post-training of video models (Lin et al., arXiv 2501.08316).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class CriticTraining:
    """How the critic is built and trained.

    Attributes:
        weight: gradient of the critic's part, as a share of the regression's; 0 for no critic.
        width: channels of the first convolution.
        rate: learning rate of AdamW.
        penalty: weight of the squared gradient at real and at generated frames.
        step: length of the finite differences that estimate it.
        lasting: share of the clips that go on from their own frames for as long as `lasting_depth`, lost or not.
        lasting_depth: most predictions deep; at an episode's end they go on with another episode's prompts.
    """

    weight: float = 1.0
    width: int = 64
    rate: float = 1e-3
    penalty: float = 0.3
    step: float = 0.1
    lasting: float = 0.25
    lasting_depth: int = 512


class Critic(nn.Module):
    """Convolutions over one latent frame, ending in one number: higher is more real.

    Args:
        channels: latent channels.
        grid: latent height and width.
        width: channels of the first convolution.
    """

    def __init__(self, channels: int, grid: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(2 * width * (grid // 2) ** 2, 2 * width), nn.LeakyReLU(0.2), nn.Linear(2 * width, 1),
        )  # fmt: skip

    def forward(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """Return how real each frame looks."""
        return self.layers(latents.contiguous(memory_format=torch.channels_last))[:, 0]


class CriticTrainer:
    """Trains a critic beside what it judges; see the module's text.

    Args:
        channels: latent channels.
        grid: latent height and width.
        config: the recipe.
        device: where to train.
    """

    def __init__(self, channels: int, grid: int, config: CriticTraining, device: str) -> None:
        self.config = config
        self.critic = Critic(channels, grid, config.width).to(device)
        self.optimizer = torch.optim.AdamW(self.critic.parameters(), lr=config.rate, weight_decay=1e-3, betas=(0.5, 0.99))

    def step(self, real: Float[Tensor, "n c h w"], made: Float[Tensor, "n c h w"], factor: float) -> float:
        """Take one optimizer step of the critic on as many real as generated frames; return its loss.

        Args:
            real: real frames.
            made: generated ones.
            factor: of the learning rate.
        """
        frames = torch.cat([real, made]).detach()
        near = frames + self.config.step * torch.randn_like(frames)
        found, beside = self.critic(torch.cat([frames, near])).chunk(2)
        slope = ((beside - found) / self.config.step).square().mean()
        real_score, made_score = found.chunk(2)
        loss = functional.softplus(made_score - real_score).mean() + self.config.penalty * slope
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def gradient(self, real: Float[Tensor, "n c h w"], made: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the gradient, at the generated frames, of looking less real than the real ones."""
        with torch.enable_grad():
            made = made.detach().requires_grad_()
            with torch.no_grad():
                goal = self.critic(real)
            (gradient,) = torch.autograd.grad(functional.softplus(goal - self.critic(made)).mean(), made)
        return gradient
