"""A training run on disk: curves, pictures, resumable checkpoints, a budget, and a clean stop on
Ctrl-C.

Takes: a folder and a budget.  Gives: what every training stage shares.  Knows nothing of: what is
    trained.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from tqdm import tqdm

from streamdit_gym.checks import check_fields
from streamdit_gym.errors import StreamDiTError, require
from streamdit_gym.files import atomic_write, writing_to
from streamdit_gym.threads import choose_threads
from streamdit_gym.train import parallel

GO_ON, TIME_IS_UP, STOP = range(3)
MAX_STEPS = 100_000_000
MIN_FREE_BYTES = 2**16  # for the curves
MAX_BATCH = 65_536
MAX_CLIP_FRAMES = 4096
MAX_MICRO_STEPS = 1000
MAX_WEIGHT = 1e12  # of a part of a loss, or a scale of noise
LEAST = 1e-9  # of what is divided by
MAX_MINUTES = 60.0 * 24 * 366
AGAIN = "make room, or choose another folder, and go on with --resume; what is done is kept"


@contextmanager
def saving(path: Path) -> Iterator[Path]:
    """Yield where to write a file of a run; at the end it replaces `path`, and after an error
    nothing has changed.

    Raises:
        StorageError: if it cannot be written.
    """
    with writing_to(path, AGAIN):
        try:
            with atomic_write(path) as part:
                yield part
        except (
            RuntimeError,
            SafetensorError,
        ) as error:  # so torch and safetensors say that a disk is full
            raise OSError(f"{error}; is the disk full?") from error


def choose_threads_for_stage(device: str, work: Callable[[], object]) -> None:
    """Measure, at the start of a stage on a CPU, with how many threads it computes faster, and take
    so many.

    Of several processes each has the threads that `torchrun` gave it.

    Args:
        device: where the stage computes.
        work: a piece of the stage's work on copies of what is trained; random states are as before
            afterwards.
    """
    if torch.device(device).type != "cpu" or torch.distributed.is_initialized():
        return

    def undisturbed() -> None:
        with torch.random.fork_rng(devices=[]):
            work()

    choose_threads(undisturbed, again=True)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a stage ends: after `steps` in all (resumed ones counted in), or after `minutes` of this
    call.

    With ``by_minutes`` the stage's progress follows whichever of the two is nearer to its end.
    """

    steps: int
    minutes: float | None = None
    by_minutes: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={"steps": (0, MAX_STEPS)},
            reals={"minutes": (0, MAX_MINUTES)},
            bools=("by_minutes",),
        )


class Stage:
    """One stage of a run (codec, heads, looks, streamdit): its state, its checkpoints, its loop.

    Args:
        folder: the run folder.
        name: name of the stage.
        state: what to save and restore: anything with ``state_dict`` and ``load_state_dict``.
        checkpoint_s: seconds between checkpoints.

    A stage continues from its own checkpoint if there is one. Of several processes the first one
    writes, and all end together.
    """

    def __init__(
        self, folder: Path, name: str, state: Mapping[str, Any], checkpoint_s: float = 120.0
    ) -> None:
        self.folder, self.name, self.state, self.checkpoint_s = folder, name, state, checkpoint_s
        self.path = folder / f"{name}.checkpoint.pt"
        self.step = 0
        self.progress = 0.0  # done part, 0 to 1
        self.finished = False
        self.stopped = False
        board = require("torch.utils.tensorboard", "train", "training")
        with writing_to(folder, AGAIN):
            self.writer = (
                None
                if parallel.rank()
                else board.SummaryWriter(str(_with_room(folder) / "curves" / name))
            )
        if self.path.is_file():
            self._restore()

    def steps(self, budget: Budget) -> Iterator[int]:
        """Yield step numbers until the budget is spent or Ctrl-C;
        checkpoint on the way and at the end.
        """
        start = saved = time.monotonic()
        first, lost = self.step, 0.0
        previous = signal.signal(signal.SIGINT, self._stop)
        bar = tqdm(
            total=budget.steps,
            initial=self.step,
            desc=self.name,
            unit="step",
            mininterval=2.0,
            smoothing=0.05,
            disable=parallel.rank() > 0,
        )
        try:
            while self.step < budget.steps:
                spent = (
                    0.0
                    if budget.minutes is None
                    else (time.monotonic() - start) / max(1e-9, 60 * budget.minutes)
                )
                late = spent > 1 and self.step > first
                # the first step compiles: its time counts as none
                lost = min(0.99, spent) if self.step == first + 1 else lost
                self.progress = self._progress(
                    budget, first / budget.steps, min(1.0, max(0.0, spent - lost) / (1 - lost))
                )
                verdict = parallel.highest(STOP if self.stopped else TIME_IS_UP if late else GO_ON)
                self.stopped = verdict == STOP
                if verdict != GO_ON:
                    break
                yield self.step
                self.step += 1
                bar.update()
                if time.monotonic() - saved > self.checkpoint_s:
                    self.save()
                    saved = time.monotonic()
        finally:
            bar.close()
            signal.signal(signal.SIGINT, previous)
            self.finished = self.step >= budget.steps
            self.save()
        if self.stopped:
            raise KeyboardInterrupt

    def _progress(self, budget: Budget, begun: float, spent: float) -> float:
        done = self.step / budget.steps
        if budget.by_minutes:  # every process has its own clock, and all must go by one
            done = max(done, parallel.highest(round(1e6 * (begun + (1 - begun) * spent))) / 1e6)
        return done

    def log(self, **values: float) -> None:
        """Write scalars to the curves."""
        if self.writer is not None:
            with writing_to(self.folder / "curves", AGAIN):
                for key, value in values.items():
                    self.writer.add_scalar(key, value, self.step)

    def picture(self, name: str, image: Any) -> None:
        """Write an (h, w, 3) uint8 picture into the run folder."""
        if parallel.rank():
            return
        with saving(self.folder / "pictures" / f"{self.name}-{name}.png") as part:
            require("PIL.Image", "train", "a picture").fromarray(image).save(part)

    def save(self) -> None:
        """Write the checkpoint; an interrupted write never harms the last one."""
        if self.writer is None:
            return
        content = {
            "step": self.step,
            "finished": self.finished,
            **{k: v.state_dict() for k, v in self.state.items()},
        }
        with saving(self.path) as part:
            torch.save(content, part)
        with writing_to(self.folder / "curves", AGAIN):
            self.writer.flush()

    def _restore(self) -> None:
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            for key, value in self.state.items():
                value.load_state_dict(saved[key])
        except Exception as error:
            raise StreamDiTError(
                "a checkpoint does not fit this run",
                given=f"{self.path}: {error}",
                remedy="use the settings it was made with, or another run folder",
            ) from error
        self.step, self.finished = saved["step"], saved["finished"]

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopped = True  # the loop ends after the step at hand, and saves


def _with_room(folder: Path) -> Path:
    """Return the folder; TensorBoard's thread would say on its own, in a traceback,
    that the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return folder


class Average:
    """An exponential moving average of a module's weights.

    Args:
        module: whose weights to follow.
        decay: share of the old average kept at each update; it starts lower, so that the random
            start is forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.shadow = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        state = module.state_dict()
        moving = [key for key, value in state.items() if value.is_floating_point()]
        # all at once: one by one, they are hundreds of kernels on a GPU
        torch._foreach_lerp_(
            [self.shadow[key] for key in moving], [state[key] for key in moving], 1 - decay
        )
        for key in state.keys() - moving:
            self.shadow[key].copy_(state[key])

    def copy_to(self, module: nn.Module) -> None:
        """Give a module the averaged weights."""
        module.load_state_dict(self.shadow)

    def state_dict(self) -> dict[str, Any]:
        """Return the average for a checkpoint."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take an average from a checkpoint."""
        self.updates = state["updates"]
        for key, value in state["shadow"].items():
            self.shadow[key].copy_(value)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write the resolved settings beside the weights."""
    if parallel.rank():
        return
    with saving(folder / "config.json") as part:
        part.write_text(json.dumps(config, indent=1, default=str))
