"""How many threads torch computes with on a CPU.

On a machine where other programs run, two threads that wait for each other can be twenty times
slower than one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from streamdit_gym.errors import ArgumentError
from streamdit_gym.forks import forked

log = logging.getLogger("streamdit_gym")

# one thread must be so many times as fast: small differences are noise, and would change results
CLEARLY_FASTER = 1.5
NUM_TIMINGS = 3


@dataclass(kw_only=True)
class ThreadChoice:
    """What was chosen in this process.

    Attributes:
        default: torch's number of threads when this module was loaded.
        by_caller: whether a caller chose, for this process.
        is_measured: whether the number was measured.
        took_one: whether the last measurement took one thread.
    """

    default: int = field(default_factory=torch.get_num_threads)
    by_caller: bool = False
    is_measured: bool = False
    took_one: bool = False


_choice = ThreadChoice()


def choose_threads(
    work: Callable[[], object], *, threads: int | None = None, again: bool = False
) -> int:
    """Set the number of torch's threads on the CPU, once per process, and return it.

    The first call times `work` with all threads and with one, and takes one where that is clearly
    faster. A number passed here, OMP_NUM_THREADS, or a `torch.set_num_threads` since this module
    was loaded overrules the measurement.

    Args:
        work: a piece of what will be done, at least a millisecond long; it must have no effect that
            matters.
        threads: the caller's own choice; None: measure.
        again: measure anew, as other work begins.

    Raises:
        ArgumentError: if this process was forked, and more than one thread is asked for.
    """
    if threads is not None:
        _set_threads(threads)
        return threads
    if _choice.by_caller:
        return torch.get_num_threads()
    if again:
        _forget_measurement()
    num_threads = torch.get_num_threads()
    is_settled = num_threads == 1 or num_threads != _choice.default
    if _choice.is_measured or is_settled or os.environ.get("OMP_NUM_THREADS"):
        return num_threads
    _choice.is_measured = True
    _choice.took_one = _is_one_faster(work, num_threads)
    chosen = 1 if _choice.took_one else num_threads
    torch.set_num_threads(chosen)
    return chosen


def _set_threads(threads: int) -> None:
    """Take the caller's own choice."""
    if threads > 1 and forked():
        raise ArgumentError(
            "a forked process computes with one thread: it would wait for its parent's for ever",
            given=f"threads={threads}",
            allowed="1",
            remedy="begin the process by 'spawn' or 'forkserver'",
        )
    torch.set_num_threads(threads)
    _choice.by_caller = True


def _forget_measurement() -> None:
    if _choice.took_one and torch.get_num_threads() == 1:
        torch.set_num_threads(_choice.default)
    _choice.is_measured = False
    _choice.took_one = False


def _is_one_faster(work: Callable[[], object], num_threads: int) -> bool:
    """Return whether one thread is clearly faster than several; torch is left with one."""
    work()  # the first call allocates
    several = _median_seconds(work)
    torch.set_num_threads(1)
    single = _median_seconds(work)
    if single * CLEARLY_FASTER >= several:
        return False
    log.warning(
        "computing with 1 thread: %d take %.1f times as long, since other programs run here (set "
        "OMP_NUM_THREADS to choose)",
        num_threads,
        several / single,
    )
    return True


def _median_seconds(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(NUM_TIMINGS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[NUM_TIMINGS // 2]
