"""The same work in several processes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tqdm import tqdm

from streamdit_gym.data.processes import map_in_processes
from streamdit_gym.errors import StreamDiTError


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    bar = tqdm(total=5, disable=True)
    assert map_in_processes(math.sqrt, [float(i * i) for i in range(5)], workers, bar) == [
        0,
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_job_is_the_callers(workers: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        map_in_processes(math.sqrt, [1.0, -1.0], workers, tqdm(total=2, disable=True))


def test_a_worker_that_is_killed_is_an_error_and_no_endless_wait() -> None:
    bar = tqdm(total=2, disable=True)
    with pytest.raises(StreamDiTError, match="ended too early"):
        map_in_processes(_killed, [0, 1], 2, bar)


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "from test_processes import _write_pid, map_in_processes, tqdm\n"
        "if __name__ == '__main__':\n"
        f"    jobs = [{str(tmp_path)!r} + '/' + name for name in 'ab']\n"
        "    map_in_processes(_write_pid, jobs, 2, tqdm(total=2, disable=True))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    places = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": places})
    _wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    workers = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
    parent.kill()
    parent.wait()
    _wait_until(lambda: not any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers))


def _killed(_job: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _write_pid(path: str) -> None:
    part = Path(path + ".part")
    part.write_text(str(os.getpid()))
    part.rename(path + ".pid")
    time.sleep(600)


def _wait_until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.1)
