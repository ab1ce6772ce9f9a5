"""Reads true state and task scores off latent frames.

Takes: latents.  Gives: state estimates and scores, in the units of the world's spec.  Knows nothing
    of: time, prompts.

The state estimates are the probe with which a world is judged; the scores are what rewards are made
of.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """Size of the head and names of what it reads.

    Attributes:
        channels: latent channels that it reads, the first ones.
        grid: latent height and width.
        width: convolution channels.
        state_names: names of the state's numbers.
        score_names: names of the scores; those that start with ``success_`` are probabilities.
    """

    channels: int = 8
    grid: int = 8
    width: int = 64
    state_names: tuple[str, ...] = ()
    score_names: tuple[str, ...] = ()


class Readout(nn.Module):
    """A small convolutional network over one latent frame."""

    centre: Tensor
    spread: Tensor

    def __init__(self, config: ReadoutConfig) -> None:
        super().__init__()
        self.config = config
        width, outputs = config.width, len(config.state_names) + len(config.score_names)
        self.first = nn.Conv2d(config.channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.third = nn.Conv2d(width, width, 3, padding=1)
        self.hidden = nn.Linear(width * config.grid**2, 4 * width)
        self.out = nn.Linear(4 * width, outputs)
        self.register_buffer("centre", torch.zeros(outputs))
        self.register_buffer("spread", torch.ones(outputs))

    @property
    def is_success(self) -> Tensor:
        """True for the outputs that are success logits."""
        names = (*self.config.state_names, *self.config.score_names)
        return torch.tensor(
            [name.startswith("success_") for name in names], device=self.centre.device
        )

    def raw(self, latents: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f o"]:
        """Return standardised outputs, successes as logits (what the loss sees)."""
        b = latents.shape[0]
        places = rearrange(latents[:, :, : self.config.channels], "b f c h w -> (b f) c h w")
        x = functional.silu(self.first(places.to(self.out.weight.dtype)))
        x = x + functional.silu(self.second(x))
        x = x + functional.silu(self.third(x))
        return rearrange(
            self.out(functional.silu(self.hidden(x.flatten(1)))), "(b f) o -> b f o", b=b
        )

    def forward(
        self, latents: Float[Tensor, "b f c h w"]
    ) -> tuple[Float[Tensor, "b f n"], Float[Tensor, "b f m"]]:
        """Return the state and the scores of every frame."""
        raw = self.raw(latents).float()
        values = torch.where(self.is_success, raw.sigmoid(), raw * self.spread + self.centre)
        return values.split([len(self.config.state_names), len(self.config.score_names)], dim=-1)
