"""Muon: momentum whose matrices are brought near the closest orthogonal one before every update.

Torch has a Muon too; this one works on all matrices of one shape at once, which is three times
faster for the many small ones of a small transformer on a CPU.  Source: Keller Jordan et al., Muon
(2024); the scale is that of AdamW's updates (Liu et al., arXiv 2502.16982).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.model.precision import learns_in_bfloat16

QUINTIC = (3.4445, -4.7750, 2.0315)  # pushes every singular value toward 1 in a few steps


def orthogonal(matrices: Float[Tensor, "k r c"], steps: int = 5) -> Float[Tensor, "k r c"]:
    """Return matrices with the same singular vectors and singular values near 1.

    The values are about 0.7 to 1.2. It computes in bfloat16 where that is faster.
    """
    a, b, c = QUINTIC
    rows, columns = matrices.shape[-2:]
    is_tall = rows > columns
    dtype = torch.bfloat16 if learns_in_bfloat16(matrices.device) else torch.float32
    x = matrices.mT if is_tall else matrices
    x = x.to(dtype)
    norm = x.norm(dim=(-2, -1), keepdim=True)
    x = x / (norm + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if is_tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    Args:
        matrices: parameters with two axes, or more: a convolution's weights are a matrix of one row
            per output.
        lr: learning rate, on the scale of AdamW's.
        momentum: share of the old momentum kept.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; matrices without a gradient are left alone."""
        del closure
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shape = tuple(matrix.flatten(1).shape)
                    shapes[shape].append(matrix)
            for shape, matrices in shapes.items():
                self._step(matrices, shape, group)

    def _step(self, matrices: list[Tensor], shape: tuple[int, ...], group: dict[str, Any]) -> None:
        """Take one step of all matrices of a shape."""
        rate = group["lr"]
        momentum = group["momentum"]
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        momenta = [self._momentum(matrix) for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        nesterov = torch._foreach_lerp(gradients, momenta, momentum)
        updates = _orthogonal_updates(nesterov)
        decay = rate * group["weight_decay"]
        torch._foreach_mul_(matrices, 1 - decay)
        scale = 0.2 * max(shape) ** 0.5
        torch._foreach_add_(matrices, updates, alpha=-rate * scale)

    def _momentum(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        return state["momentum"]


def _orthogonal_updates(momenta: Sequence[Tensor]) -> list[Tensor]:
    """Return orthogonal matrices of momenta, each with its momentum's axes."""
    matrices = torch.stack([momentum.flatten(1) for momentum in momenta])
    directions = orthogonal(matrices)
    directions = directions.to(matrices.dtype)
    updates: list[Tensor] = []
    for direction, momentum in zip(directions, momenta, strict=True):
        updates.append(direction.view_as(momentum))
    return updates
