"""The one training loop: optimizers, schedule, averaging, checkpoints, budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from streamdit_gym.threads import choose_threads
from streamdit_gym.train import parallel
from streamdit_gym.train.average import WeightAverage
from streamdit_gym.train.optimization import OptimizerPart, Optimizers, Schedule
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stage_run import StageRun

LOG_EVERY = 50


class Trainer(Protocol):
    """The loss of every step of a stage, on batches that it samples itself."""

    def seed(self, seed: int, step: int) -> None:
        """Seed the batches of a call that goes on from a step."""

    def loss(self, step: int, progress: float) -> Tensor:
        """Return the loss of a step.

        Args:
            step: its number.
            progress: done part of the training, 0 to 1.
        """

    def rehearse(self) -> None:
        """Do a piece of a step on a copy of the module, to measure how fast it is."""


def _every_so_often(step: int) -> str | None:
    return "loss" if step % LOG_EVERY == 0 else None


def _nothing(_loop: TrainingLoop, _step: int) -> None:
    pass


@dataclass(kw_only=True)
class TrainingLoop:
    """Train one module, resuming from the run folder.

    Attributes:
        name: of the stage: of its checkpoint and its curves.
        state_name: of the module in the checkpoint; None: the stage's.
        module: what learns; it ends up holding the averaged weights.
        trainer: the loss of a step.
        optimizers: of the module, by their names in the checkpoint.
        schedule: of their learning rates.
        max_gradient_norm: to which gradients are clipped; None: never.
        average_decay: of the averaged weights.
        seed: of the stage; the state of all random numbers follows from it and the first step.
        steps: of the stage, in all calls.
        end_with_minutes: the schedule also ends with the minutes of the call.
        options: of the run.
        curve: name of the curve on which a step's loss is drawn; None: on none.
        stage_class: how checkpoints are written.
        after_step: called after every step with the loop and the step's number.
    """

    name: str
    state_name: str | None = None
    module: nn.Module
    trainer: Trainer
    optimizers: dict[str, OptimizerPart]
    schedule: Schedule
    max_gradient_norm: float | None = 1.0
    average_decay: float = 0.998
    seed: int
    steps: int
    end_with_minutes: bool = False
    options: RunOptions
    curve: Callable[[int], str | None] = _every_so_often
    stage_class: type[StageRun] = StageRun
    after_step: Callable[[TrainingLoop, int], None] = _nothing
    average: WeightAverage = field(init=False)
    stage: StageRun = field(init=False)

    def __post_init__(self) -> None:
        options = self.options
        parallel.share(self.module)
        self.average = WeightAverage(self.module, self.average_decay)
        choose_threads_for_stage(options.device, self.trainer.rehearse)
        self.stage = self.stage_class(
            options.folder, self.name, self._checkpoint_state(), options.checkpoint_s
        )

    def run(self) -> bool:
        """Train until the minutes or steps are spent, and return whether all steps are done.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
        """
        module = self.module
        stage = self.stage
        optimizers = Optimizers(module, self.optimizers, self.max_gradient_norm)
        budget = self.options.budget(self.steps, self.end_with_minutes)
        self._seed()
        for step in stage.steps(budget):
            progress = stage.progress
            rate = self.schedule(step, progress)
            optimizers.prepare(rate)
            loss = self.trainer.loss(step, progress)
            optimizers.step(loss)
            self.average.update(module)
            self._log(step, loss)
            self.after_step(self, step)
        self.average.copy_to(module)
        module.eval()
        return stage.finished

    def _seed(self) -> None:
        """Seed all random numbers: resumed calls go on with others, and so does each process."""
        step = self.stage.step
        seed = parallel.seed(self.seed + step)
        torch.manual_seed(seed)
        self.trainer.seed(seed, step)

    def _log(self, step: int, loss: Tensor) -> None:
        curve = self.curve(step)
        if curve is not None:
            self.stage.log(**{curve: loss.item()})

    def _checkpoint_state(self) -> dict[str, Any]:
        optimizers = {name: part.optimizer for name, part in self.optimizers.items()}
        module_name = self.state_name or self.name
        return {module_name: self.module, **optimizers, "average": self.average}


def choose_threads_for_stage(device: str, work: Callable[[], object]) -> None:
    """Measure with how many threads a stage computes faster on a CPU, and take so many.

    Of several processes each has the threads that `torchrun` gave it.
    """
    if torch.device(device).type != "cpu" or torch.distributed.is_initialized():
        return

    def with_own_random_numbers() -> None:
        with torch.random.fork_rng(devices=[]):
            work()

    choose_threads(with_own_random_numbers, again=True)
