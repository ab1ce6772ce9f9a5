"""Learned embeddings."""

from __future__ import annotations

import torch
from torch import nn


def embedding(*shape: int, std: float) -> nn.Parameter:
    """Return a parameter drawn from a normal distribution; on the meta device only its shape."""
    values = torch.empty(*shape)
    if not values.is_meta:  # to draw nothing there, torch would load sympy, which takes 0.8 s
        torch.randn(*shape, out=values).mul_(std)
    return nn.Parameter(values)
