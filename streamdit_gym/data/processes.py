"""The same work for many jobs, in processes of their own: a simulator takes one core.

Takes: a function, jobs.  Gives: what it makes of each, in order.  Knows nothing of: what the work
    is.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

Job = TypeVar("Job")
Made = TypeVar("Made")


def mapped(
    call: Callable[[Job], Made], jobs: Sequence[Job], workers: int, bar: tqdm[Any]
) -> list[Made]:
    """Return what a function makes of every job, in order.

    Args:
        call: the function; with more than one worker it is found by its name in another process,
            and its jobs are pickled.
        jobs: what to call it with.
        workers: processes at most; 1: this one alone.
        bar: moves on with each result, and is closed.
    """
    made = []
    workers = min(workers, len(jobs))
    with bar:
        if workers <= 1:
            for job in jobs:
                made.append(call(job))
                bar.update()
            return made
        with multiprocessing.get_context("spawn").Pool(
            workers, signal.signal, (signal.SIGINT, signal.SIG_IGN)
        ) as pool:
            for done in pool.imap(call, jobs):
                made.append(done)
                bar.update()
    return made
