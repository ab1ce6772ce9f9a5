"""One stage of a run on disk: curves, pictures, resumable checkpoints, a budget, a clean Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from streamdit_gym.checks import check_fields
from streamdit_gym.errors import StreamDiTError, require
from streamdit_gym.files import writing_to
from streamdit_gym.recipes import limits
from streamdit_gym.train import parallel
from streamdit_gym.train.run_files import RESUME_REMEDY, require_room, saving

CONTINUE, TIME_UP, INTERRUPTED = range(3)
MAX_MINUTES = 60.0 * 24 * 366
MAX_COMPILE_SHARE = 0.99  # of a call's time, that may count as compilation


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a stage ends: after `steps` in all, or after `minutes` of this call.

    Resumed steps count. With ``end_with_minutes`` the stage's progress follows whichever of the two
    is nearer to its end.
    """

    steps: int
    minutes: float | None = None
    end_with_minutes: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={"steps": limits.STEPS},
            reals={"minutes": (0, MAX_MINUTES)},
            bools=("end_with_minutes",),
        )


class Clock:
    """How much of a call's minutes is spent, without the time that the first step compiles."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes = minutes
        self.start = time.monotonic()
        self.compile_share = 0.0

    def spent(self) -> float:
        """Return the spent share of the minutes; 0 without a limit."""
        if self.minutes is None:
            return 0.0
        return (time.monotonic() - self.start) / max(1e-9, 60 * self.minutes)

    def ignore(self, share: float) -> None:
        """Leave out what was spent so far, as compilation."""
        self.compile_share = min(MAX_COMPILE_SHARE, share)

    def progress(self, spent: float) -> float:
        """Return the spent share of the time that is left after compilation, 0 to 1."""
        return min(1.0, max(0.0, spent - self.compile_share) / (1 - self.compile_share))


class StageRun:
    """One stage of a run: its state, its checkpoints, its steps.

    A stage continues from its own checkpoint if there is one. Of several processes the first one
    writes, and all end together.

    Args:
        folder: the run folder.
        name: of the stage, and so of its checkpoint and curves.
        state: what to save and restore: anything with ``state_dict`` and ``load_state_dict``.
        checkpoint_s: seconds between checkpoints.
    """

    def __init__(
        self, folder: Path, name: str, state: Mapping[str, Any], checkpoint_s: float = 120.0
    ) -> None:
        self.folder = folder
        self.name = name
        self.state = state
        self.checkpoint_s = checkpoint_s
        self.step = 0
        self.progress = 0.0  # done part, 0 to 1
        self.finished = False
        self.interrupted = False
        self.writer = self._open_curves()
        if self.path.is_file():
            self._restore()

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / f"{self.name}.checkpoint.pt"

    def steps(self, budget: Budget) -> Iterator[int]:
        """Yield step numbers until the budget is spent or Ctrl-C.

        It checkpoints on the way and at the end.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
        """
        previous = signal.signal(signal.SIGINT, self._interrupt)
        bar = self._progress_bar(budget)
        try:
            yield from self._loop(budget, bar)
        finally:
            bar.close()
            signal.signal(signal.SIGINT, previous)
            self._finish(budget)
        if self.interrupted:
            raise KeyboardInterrupt

    def _loop(self, budget: Budget, bar: tqdm) -> Iterator[int]:
        clock = Clock(budget.minutes)
        last_save = clock.start
        first = self.step
        while self.step < budget.steps:
            spent = clock.spent()
            if self.step == first + 1:
                clock.ignore(spent)
            self.progress = self._progress(budget, first / budget.steps, clock.progress(spent))
            if self._ends(time_up=spent > 1 and self.step > first):
                break
            yield self.step
            self.step += 1
            bar.update()
            if self._is_due(last_save):
                self.save()
                last_save = time.monotonic()

    def _finish(self, budget: Budget) -> None:
        """Save what is there, however the loop ended."""
        self.finished = self.step >= budget.steps
        self.save()

    def _is_due(self, last_save: float) -> bool:
        return time.monotonic() - last_save > self.checkpoint_s

    def _ends(self, time_up: bool) -> bool:
        """Return whether any process must end, so that all end together."""
        own = TIME_UP if time_up else CONTINUE
        if self.interrupted:
            own = INTERRUPTED
        decision = parallel.highest(own)
        self.interrupted = decision == INTERRUPTED
        return decision != CONTINUE

    def _progress(self, budget: Budget, resumed: float, time_progress: float) -> float:
        progress = self.step / budget.steps
        if not budget.end_with_minutes:
            return progress
        by_time = resumed + (1 - resumed) * time_progress
        # every process has its own clock, and all must go by one
        return max(progress, parallel.highest(round(1e6 * by_time)) / 1e6)

    def log(self, **values: float) -> None:
        """Write scalars to the curves."""
        if self.writer is None:
            return
        with writing_to(self.folder / "curves", RESUME_REMEDY):
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
        content = {key: value.state_dict() for key, value in self.state.items()}
        content |= {"step": self.step, "finished": self.finished}
        # first the curves: what is drawn twice does no harm, and what is not drawn is lost
        with writing_to(self.folder / "curves", RESUME_REMEDY):
            self.writer.flush()
        with saving(self.path) as part:
            torch.save(content, part)

    def _open_curves(self) -> Any:
        """Return the writer of the curves; None in all processes but the first."""
        board = require("torch.utils.tensorboard", "train", "training")
        with writing_to(self.folder, RESUME_REMEDY):
            if parallel.rank():
                return None
            require_room(self.folder)
            return board.SummaryWriter(str(self.folder / "curves" / self.name))

    def _progress_bar(self, budget: Budget) -> tqdm:
        return tqdm(
            total=budget.steps,
            initial=self.step,
            desc=self.name,
            unit="step",
            mininterval=2.0,
            smoothing=0.05,
            disable=parallel.rank() > 0,
        )

    def _restore(self) -> None:
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            for key, value in self.state.items():
                value.load_state_dict(saved[key])
            self.step = saved["step"]
            self.finished = saved["finished"]
        except Exception as error:
            raise StreamDiTError(
                "a checkpoint does not fit this run",
                given=f"{self.path}: {error}",
                remedy="use the settings it was made with, or another run folder",
            ) from error

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self.interrupted = True  # the loop ends after the step at hand, and saves
