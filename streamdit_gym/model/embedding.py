"""Learned embeddings.

Takes: a shape.  Gives: a parameter.  Knows nothing of: what it stands for.
"""

from __future__ import annotations

import torch
from torch import nn


def embedding(*shape: int, std: float) -> nn.Parameter:
    """Return a parameter drawn from a normal distribution; on the meta device, which holds no numbers, its shape alone."""
    values = torch.empty(*shape)
    if not values.is_meta:  # there torch would load its symbolic mathematics to draw nothing, which takes 0.8 s
        torch.randn(*shape, out=values).mul_(std)
    return nn.Parameter(values)
