"""An exponential moving average of a module's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


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
        self.shadow = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        state = module.state_dict()
        floating = [key for key, value in state.items() if value.is_floating_point()]
        averages = [self.shadow[key] for key in floating]
        current = [state[key] for key in floating]
        # all at once: one by one, they are hundreds of kernels on a GPU
        torch._foreach_lerp_(averages, current, 1 - decay)
        for key in state.keys() - floating:
            self.shadow[key].copy_(state[key])

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


@contextmanager
def averaged_weights(module: nn.Module, average: WeightAverage) -> Iterator[None]:
    """Let a module hold its averaged weights for a while."""
    current = {key: value.clone() for key, value in module.state_dict().items()}
    average.copy_to(module)
    try:
        yield
    finally:
        module.load_state_dict(current)
