"""An exponential moving average of a module's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of a module's weights and buffers.

    Args:
        module: whose weights to follow.
        decay: share of the old average kept at each update; it starts lower, so that the random
            start is forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = copies_of(module)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's current weights."""
        self.updates += 1
        early_decay = (1 + self.updates) / (10 + self.updates)
        decay = min(self.decay, early_decay)
        averages: list[Tensor] = []
        current: list[Tensor] = []
        for key, value in module.state_dict().items():
            average = self.shadow[key]
            if value.is_floating_point():
                averages.append(average)
                current.append(value)
            else:
                average.copy_(value)
        # all at once: one by one, they are hundreds of kernels on a GPU
        torch._foreach_lerp_(averages, current, 1 - decay)

    def copy_to(self, module: nn.Module) -> None:
        """Load the averaged weights into a module."""
        module.load_state_dict(self.shadow)

    def state_dict(self) -> dict[str, Any]:
        """Return the average for a checkpoint."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take an average from a checkpoint."""
        self.updates = state["updates"]
        for key, value in state["shadow"].items():
            self.shadow[key].copy_(value)


def copies_of(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of a module's weights and buffers."""
    copies: dict[str, Tensor] = {}
    for key, value in module.state_dict().items():
        copies[key] = value.detach().clone()
    return copies


@contextmanager
def averaged_weights(module: nn.Module, average: WeightAverage) -> Iterator[None]:
    """Let a module hold its averaged weights for a while."""
    current = copies_of(module)
    average.copy_to(module)
    try:
        yield
    finally:
        module.load_state_dict(current)
