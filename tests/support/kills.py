"""Kill a command again and again, then let it finish."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

KILLS = int(os.environ.get("KILLS", "2"))  # of every command; `KILLS=20 pytest ...` for a campaign


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What became of a command.

    Attributes:
        kills: how often it was killed while it ran.
        output: standard output and error of its last, undisturbed run.
    """

    kills: int
    output: str


def survive(command: list[str], *, longest_s: float, kills: int = KILLS, seed: int = 0, cwd: Path | None = None) -> Survival:
    """Start a command, kill it (SIGKILL, with its children) after a random time, and so on; at last let it end.

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
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd, start_new_session=True)
        time.sleep(rng.uniform(0, longest_s))
        if process.poll() is not None:
            output, _ = process.communicate()
            assert process.returncode == 0, f"after {killed} kills: {output[-3000:]}"
            return Survival(kills=killed, output=output)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        killed += 1
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, f"after {killed} kills: {done.stdout[-3000:]}"
    return Survival(kills=killed, output=done.stdout)
