"""Reads the reward and the end of a transition off the latents before and after it.

It stands in for an environment's own reward and end, which depend on the action, too, and of which
nobody has written down a formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

NUM_OUTPUTS = 2  # reward and end


@dataclass(frozen=True, kw_only=True)
class TransitionReadoutConfig:
    """Size of a transition readout.

    Attributes:
        channels: latent channels that it reads, the first ones.
        grid: latent height and width.
        actions: numbers of an action, see `streamdit_gym.actions.action_numbers`.
        width: convolution channels.
    """

    channels: int = 8
    grid: tuple[int, int] = (8, 8)
    actions: int = 1
    width: int = 32


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class TransitionReadout(nn.Module):
    """A small convolutional network over two latent frames and the action between them."""

    centre: Tensor
    spread: Tensor
    end_offset: Tensor

    def __init__(self, config: TransitionReadoutConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        height, columns = config.grid
        features = width * height * columns
        hidden_width = 4 * width
        self.first = _convolution(2 * config.channels, width)
        self.second = _convolution(width, width)
        self.third = _convolution(width, width)
        self.hidden = nn.Linear(features + config.actions, hidden_width)
        self.out = nn.Linear(hidden_width, NUM_OUTPUTS)
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        # ends are rare, and training shows more of them than there are
        self.register_buffer("end_offset", torch.zeros(()))

    def raw(
        self,
        before: Float[Tensor, "b c h w"],
        after: Float[Tensor, "b c h w"],
        actions: Float[Tensor, "b a"],
    ) -> Float[Tensor, "b 2"]:
        """Return the standardised reward and the end's logit as the loss sees them."""
        channels = self.config.channels
        dtype = self.out.weight.dtype
        frames = torch.cat([before[:, :channels], after[:, :channels]], 1)
        x = silu(self.first(frames.to(dtype)))
        x = x + silu(self.second(x))
        x = x + silu(self.third(x))
        features = torch.cat([x.flatten(1), actions.to(dtype)], 1)
        x = silu(self.hidden(features))
        return self.out(x)

    def forward(
        self,
        before: Float[Tensor, "b c h w"],
        after: Float[Tensor, "b c h w"],
        actions: Float[Tensor, "b a"],
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Return the reward of some transitions, and the logit of their being an episode's end.

        Args:
            before: latents of the frame before each.
            after: latents of the frame after it.
            actions: the actions between them, as numbers.
        """
        raw = self.raw(before, after, actions).float()
        reward = raw[:, 0] * self.spread + self.centre
        end_logit = raw[:, 1] + self.end_offset
        return reward, end_logit
