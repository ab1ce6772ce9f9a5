"""The same work for many jobs, in processes of their own: a simulator takes one core."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int, bar: tqdm[Any]
) -> list[Result]:
    """Return the function's result for every job, in order.

    Args:
        function: with more than one worker, another process finds it by its name, and its jobs are
            pickled.
        jobs: its arguments.
        workers: processes at most; 1 takes this process alone.
        bar: moves on with each result, and is closed.
    """
    workers = min(workers, len(jobs))
    with bar:
        if workers <= 1:
            return _collect(map(function, jobs), bar)
        context = multiprocessing.get_context("spawn")
        # Ctrl-C is for the parent, which ends the workers
        with context.Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
            return _collect(pool.imap(function, jobs), bar)


def _collect(results: Iterable[Result], bar: tqdm[Any]) -> list[Result]:
    collected = []
    for result in results:
        collected.append(result)
        bar.update()
    return collected
