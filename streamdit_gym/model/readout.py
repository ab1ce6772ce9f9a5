"""Reads the true state and the task scores off latent frames, in the units of the world's spec.

The state estimates are the probe with which a world is evaluated; rewards are made of the scores.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import silu


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """Size of the readout and names of its outputs.

    Attributes:
        channels: latent channels that it reads, the first ones.
        grid: rows and columns of a latent.
        width: convolution channels.
        state_names: names of the state's numbers.
        score_names: names of the scores; those that start with ``success_`` are probabilities.
    """

    channels: int = 8
    grid: tuple[int, int] = (8, 8)
    width: int = 64
    state_names: tuple[str, ...] = ()
    score_names: tuple[str, ...] = ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of all outputs, in their order."""
        return (*self.state_names, *self.score_names)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _output_layer(inputs: int, outputs: int) -> nn.Linear:
    with warnings.catch_warnings():
        # a world may have neither state nor scores
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        return nn.Linear(inputs, outputs)


class Readout(nn.Module):
    """A small convolutional network over one latent frame."""

    centre: Tensor
    spread: Tensor

    def __init__(self, config: ReadoutConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        rows, columns = config.grid
        features = width * rows * columns  # of a whole frame
        hidden_width = 4 * width
        outputs = len(config.output_names)
        self.first = _convolution(config.channels, width)
        self.second = _convolution(width, width)
        self.third = _convolution(width, width)
        self.hidden = nn.Linear(features, hidden_width)
        self.out = _output_layer(hidden_width, outputs)
        centre = torch.zeros(outputs)
        spread = torch.ones(outputs)
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)

    @property
    def is_success(self) -> Bool[Tensor, " o"]:
        """True for the outputs that are success logits."""
        names = self.config.output_names
        flags = [name.startswith("success_") for name in names]
        return torch.tensor(flags, dtype=torch.bool, device=self.centre.device)

    def raw(self, latents: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f o"]:
        """Return standardised outputs, successes as logits (what the loss sees)."""
        spatial = latents[:, :, : self.config.channels]
        spatial = rearrange(spatial, "b f c h w -> (b f) c h w")
        dtype = self.out.weight.dtype
        spatial = spatial.to(dtype)
        x = silu(self.first(spatial))
        x = x + silu(self.second(x))
        x = x + silu(self.third(x))
        x = x.flatten(1)  # b*f (width h w)
        x = self.hidden(x)
        x = silu(x)
        x = self.out(x)
        return rearrange(x, "(b f) o -> b f o", b=len(latents))

    def forward(
        self, latents: Float[Tensor, "b f c h w"]
    ) -> tuple[Float[Tensor, "b f n"], Float[Tensor, "b f m"]]:
        """Return the state and the scores of every frame."""
        _, states, scores = self.read(latents)
        return states, scores

    def read(
        self, latents: Float[Tensor, "b f c h w"]
    ) -> tuple[Float[Tensor, "b f o"], Float[Tensor, "b f n"], Float[Tensor, "b f m"]]:
        """Return the standardised outputs, and the state and the scores that they stand for."""
        raw = self.raw(latents)
        raw = raw.float()
        probabilities = raw.sigmoid()
        numbers = raw * self.spread + self.centre
        values = torch.where(self.is_success, probabilities, numbers)
        count = len(self.config.state_names)
        states = values[..., :count]
        scores = values[..., count:]
        return raw, states, scores
