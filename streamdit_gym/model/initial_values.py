"""The values that parameters begin with."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def embedding(*shape: int, std: float) -> nn.Parameter:
    """Return a parameter drawn from a normal distribution; on the meta device only its shape."""
    values = torch.empty(*shape)
    if not values.is_meta:  # to draw nothing there, torch would load sympy, which takes 0.8 s
        torch.randn(*shape, out=values).mul_(std)
    return nn.Parameter(values)


def zeroed(module: Module) -> Module:
    """Return a module with all its parameters set to zero, so that it adds nothing at first."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
