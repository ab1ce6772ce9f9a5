"""Kill a command again and again, then let it finish."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SHARE = 0.8  # of an undisturbed run, after which a killed one is killed at the latest
KILLS = int(os.environ.get("KILLS", "1"))  # of every command; `KILLS=20 pytest ...` for a campaign


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What became of a command.

    Attributes:
        kills: how often it was killed while it ran.
        output: standard output and error of its last, undisturbed run.
    """

    kills: int
    output: str


def survive(
    command: list[str],
    *,
    longest_s: float,
    kills: int = KILLS,
    seed: int = 0,
    cwd: Path | None = None,
) -> Survival:
    """Start a command, kill it (SIGKILL, with its children) after a random time, and so on; at last
    let it end.

    Args:
        command: must do what is missing when it is started again.
        longest_s: the random time is from 0 to this.
        kills: how often at most; a command that ends by itself in between is not killed any more.
        seed: of the times.
        cwd: folder to run in.

    Raises:
        AssertionError: if a run ends with another exit status than 0.
    """
    rng = random.Random(seed)
    killed = 0
    while killed < kills:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            start_new_session=True,
        )
        time.sleep(rng.uniform(0, longest_s))
        if process.poll() is not None:
            output, _ = process.communicate()
            assert process.returncode == 0, f"after {killed} kills: {output[-3000:]}"
            return Survival(kills=killed, output=output)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        killed += 1
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, f"after {killed} kills: {done.stdout[-3000:]}"
    return Survival(kills=killed, output=done.stdout)


def survive_often(
    command: Callable[[Path], list[str]], folder: Path, *, kills: int = KILLS
) -> Iterator[Path]:
    """Kill a command so many times in all, in as many folders as that takes, and yield each folder
    once it is finished.

    How long it takes on this machine is measured first, in an undisturbed run whose folder is
    yielded first.

    Args:
        command: the command that works in a folder, and resumes.
        folder: where the folders are made.
        kills: how often it is killed.
    """
    begin = time.monotonic()
    undisturbed = subprocess.run(
        command(folder / "undisturbed"), capture_output=True, text=True, check=False
    )
    whole_s = time.monotonic() - begin
    assert undisturbed.returncode == 0, undisturbed.stderr[-3000:]
    yield folder / "undisturbed"
    killed = 0
    for number in range(20 * kills):
        if killed == kills:
            print(f"{killed} kills in {number} folders, {whole_s:.0f} s undisturbed")
            return
        place = folder / f"killed-{number}"
        killed += survive(
            command(place), longest_s=SHARE * whole_s, kills=kills - killed, seed=number
        ).kills
        yield place
    raise AssertionError(f"only {killed} kills: the command is too quick")
