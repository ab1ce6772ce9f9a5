"""The same work for many jobs, in processes of their own: a simulator takes one core."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from streamdit_gym.errors import StreamDiTError

Job = TypeVar("Job")
Result = TypeVar("Result")
# The executor's thread must have dropped cancelled jobs before a worker ends: otherwise it fails at
# the first of them, and this process waits for ever at its exit (Python 3.11).
CANCELLING_S = 0.5
MapJobs = Callable[..., Iterable[Any]]


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

    Raises:
        StreamDiTError: if somebody ends a process, such as a system without memory.
    """
    collected = []
    with bar, mapping(min(workers, len(jobs))) as map_jobs:
        for result in map_jobs(function, jobs):
            collected.append(result)
            bar.update()
    return collected


@contextmanager
def mapping(workers: int) -> Iterator[MapJobs]:
    """Yield what maps a function over jobs: here, or in several processes.

    The processes end with the context, and with this process, whatever ends it.

    Raises:
        StreamDiTError: if somebody ends one of them.
    """
    if workers <= 1:
        yield map
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield executor.map
        executor.shutdown()
    except BrokenProcessPool as error:
        raise StreamDiTError(
            "a worker process has ended too early",
            given=f"{workers} workers",
            allowed="as many as there is memory for",
            remedy="run the same command again, with fewer workers",
        ) from error
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        running = set(multiprocessing.active_children()) - others
        if running:
            time.sleep(CANCELLING_S)
        for process in running:
            process.terminate()


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
