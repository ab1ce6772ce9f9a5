"""The one training loop: optimizers, schedule, averaging, checkpoints, budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from streamdit_gym.threads import choose_threads
from streamdit_gym.train import parallel
from streamdit_gym.train.average import WeightAverage
from streamdit_gym.train.optimization import Optimizers, Schedule
from streamdit_gym.train.stage_run import Budget, StageRun

LOG_EVERY = 50
LossFunction = Callable[[int, float], Tensor]
"""The loss of a step, from the step's number and the done part of the training (0 to 1)."""


def _every_so_often(step: int) -> str | None:
    return "loss" if step % LOG_EVERY == 0 else None


def _nothing(_step: int) -> None:
    pass


@dataclass(kw_only=True)
class TrainingLoop:
    """Train one module, resuming from the run folder.

    Attributes:
        module: what learns; it ends up holding the averaged weights.
        name: of the stage: of its checkpoint and its curves.
        state_name: of the module in the checkpoint.
        folder: the run folder.
        device: where it learns.
        optimizers: of the module.
        schedule: of their learning rates.
        budget: when the call ends.
        average_decay: of the averaged weights.
        seed: of the stage; the state of all random numbers follows from it and the first step.
        rehearsal: a piece of a step's work on a copy of the module, to choose the number of threads
            by; random states are as before afterwards.
        curve: name of the curve on which a step's loss is drawn; None: on none.
        after_step: called after every step with its number.
    """

    module: nn.Module
    name: str
    state_name: str
    folder: Path
    device: str
    optimizers: Optimizers
    schedule: Schedule
    budget: Budget
    average_decay: float
    seed: int
    rehearsal: Callable[[], object]
    curve: Callable[[int], str | None] = _every_so_often
    after_step: Callable[[int], None] = _nothing
    average: WeightAverage = field(init=False)
    stage: StageRun = field(init=False)

    def __post_init__(self) -> None:
        parallel.share(self.module)
        self.average = WeightAverage(self.module, self.average_decay)
        choose_threads_for_stage(self.device, self.rehearsal)
        state = {
            self.state_name: self.module,
            **self.optimizers.state,
            "average": self.average,
        }
        self.stage = StageRun(self.folder, self.name, state)

    @property
    def run_seed(self) -> int:
        """The seed of this call, in this process: resumed calls go on with other numbers."""
        return parallel.seed(self.seed + self.stage.step)

    def run(self, loss_of: LossFunction) -> bool:
        """Train until the budget is spent, and return whether all steps are done.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
        """
        stage = self.stage
        torch.manual_seed(self.run_seed)
        for step in stage.steps(self.budget):
            rate = self.schedule(step, stage.progress)
            self.optimizers.prepare(rate)
            loss = loss_of(step, stage.progress)
            self.optimizers.step(loss)
            self.average.update(self.module)
            self._log(step, loss)
            self.after_step(step)
        self.average.copy_to(self.module)
        return stage.finished

    def _log(self, step: int, loss: Tensor) -> None:
        curve = self.curve(step)
        if curve is not None:
            self.stage.log(**{curve: loss.item()})


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
