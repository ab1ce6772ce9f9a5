"""Gradient steps: several optimizers of one module, and how their learning rates change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from streamdit_gym.train import parallel
from streamdit_gym.train.muon import Muon

ADAMW_BETAS = (0.9, 0.95)
Schedule = Callable[[int, float], float]
"""A factor on the peak learning rates, from the step's number and the done part (0 to 1)."""


@dataclass(frozen=True)
class OptimizerPart:
    """An optimizer and the peak of its learning rate."""

    optimizer: Optimizer
    peak_rate: float


class Optimizers:
    """The optimizers of one module and the step that they take together.

    Args:
        module: what learns.
        parts: the optimizers by name, as checkpoints name them.
        max_gradient_norm: to which gradients are clipped; None: never.
    """

    def __init__(
        self,
        module: nn.Module,
        parts: dict[str, OptimizerPart],
        max_gradient_norm: float | None = 1.0,
    ) -> None:
        self.module = module
        self.parts = parts
        self.max_gradient_norm = max_gradient_norm

    def prepare(self, factor: float) -> None:
        """Forget the last gradients and set the learning rates.

        Args:
            factor: on the peak rates.
        """
        for part in self.parts.values():
            part.optimizer.zero_grad(set_to_none=True)
            for group in part.optimizer.param_groups:
                group["lr"] = part.peak_rate * factor

    def step(self, loss: Tensor) -> None:
        """Descend the loss's gradient.

        Neither a loss nor a gradient reaches the weights unless it is finite.
        """
        is_bad = not loss.isfinite()
        if parallel.highest(int(is_bad)):
            return
        loss.backward()
        parameters = list(self.module.parameters())
        parallel.average_gradients(parameters)
        if self.max_gradient_norm is not None:
            norm = nn.utils.clip_grad_norm_(parameters, self.max_gradient_norm)
            if not parallel.whole(norm).isfinite():
                return
        for part in self.parts.values():
            part.optimizer.step()


def muon_and_adamw(
    parameters: Iterable[nn.Parameter],
    matrices: list[nn.Parameter],
    rates: tuple[float, float],
    weight_decay: float = 0.0,
    adamw_name: str = "others",
) -> dict[str, OptimizerPart]:
    """Return Muon for some matrices and AdamW for the rest of the parameters.

    Args:
        parameters: all that learn.
        matrices: those with two axes or more that Muon shall take.
        rates: peak learning rates of Muon and of AdamW.
        weight_decay: AdamW's.
        adamw_name: of AdamW in the checkpoint.
    """
    in_muon = {id(matrix) for matrix in matrices}
    others = [parameter for parameter in parameters if id(parameter) not in in_muon]
    muon_rate, adamw_rate = rates
    muon = Muon(matrices, lr=muon_rate)
    adamw = AdamW(others, lr=adamw_rate, weight_decay=weight_decay, betas=ADAMW_BETAS)
    return {
        "matrices": OptimizerPart(muon, muon_rate),
        adamw_name: OptimizerPart(adamw, adamw_rate),
    }


def adamw_only(module: nn.Module, rate: float) -> dict[str, OptimizerPart]:
    """Return AdamW for all of a module."""
    optimizer = AdamW(module.parameters(), lr=rate)
    return {"optimizer": OptimizerPart(optimizer, rate)}


def cosine_schedule(warmup: int = 100) -> Schedule:
    """Return a schedule: a linear warm-up, then a cosine down to zero."""

    def factor(step: int, progress: float) -> float:
        cosine = math.cos(math.pi * progress)
        fall = 0.5 * (1 + cosine)
        rise = min(1.0, (step + 1) / warmup)
        return rise * fall

    return factor


def linear_cooldown(cooldown: float) -> Schedule:
    """Return a schedule: a short warm-up, the peak, and a straight way down to zero.

    Args:
        cooldown: last part of the training, in which the rates fall.
    """

    def factor(_step: int, progress: float) -> float:
        rise = (progress + 1e-4) * 100
        fall = (1 - progress) / cooldown
        return min(1.0, rise, fall)

    return factor
