"""How many threads torch computes with.

Takes: work to time.  Gives: a number of threads, set in torch.  Knows nothing of: what the work is.

On a machine where other programs run, two threads that wait for each other can be twenty times
slower than one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

import torch

from streamdit_gym.errors import ArgumentError
from streamdit_gym.forks import forked

log = logging.getLogger("streamdit_gym")

# one thread must be so many times as fast: small differences are noise, and would change results
CLEARLY_FASTER = 1.5
REPEATS = 3

_default = torch.get_num_threads()
_chosen = False
_single = False  # whether the last measurement chose one thread
_given = False  # whether a caller chose, for this process


def choose_threads(
    work: Callable[[], object], *, threads: int | None = None, again: bool = False
) -> int:
    """Set the number of threads that torch computes with on the CPU, once per process, and return
    it.

    The first call times `work` with all threads and with one, and takes one where that is clearly
    faster. A number given here, OMP_NUM_THREADS, or a `torch.set_num_threads` since this module was
    loaded overrules the measurement.

    Args:
        work: a piece of what will be done, at least a millisecond long; it must have no effect that
            matters.
        threads: the caller's own choice; None: measure.
        again: measure anew, as other work begins.

    Raises:
        ArgumentError: if this process was forked, and more than one thread is asked for.
    """
    global _chosen, _single, _given
    if threads is not None:
        if threads > 1 and forked():
            raise ArgumentError(
                "a forked process computes with one thread: it would wait for its parent's for ever",
                given=f"threads={threads}",
                allowed="1",
                remedy="begin the process by 'spawn' or 'forkserver'",
            )
        torch.set_num_threads(threads)
        _given = True
        return threads
    if _given:
        return torch.get_num_threads()
    if again:
        if _single and torch.get_num_threads() == 1:
            torch.set_num_threads(_default)
        _chosen = _single = False
    most = torch.get_num_threads()
    if _chosen or most == 1 or most != _default or os.environ.get("OMP_NUM_THREADS"):
        return most
    _chosen = True
    work()  # the first call allocates
    several = _seconds(work)
    torch.set_num_threads(1)
    single = _seconds(work)
    if single * CLEARLY_FASTER < several:
        log.warning(
            "computing with 1 thread: %d take %.1f times as long, since other programs run here (set "
            "OMP_NUM_THREADS to choose)",
            most,
            several / single,
        )
        _single = True
        return 1
    torch.set_num_threads(most)
    return most


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return sorted(times)[REPEATS // 2]
