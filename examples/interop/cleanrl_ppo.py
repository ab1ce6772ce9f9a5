"""CleanRL's ppo.py, as it is, learns from the ten numbers of observation="state".

CleanRL is no package but a set of programs: get its repository and name the folder in CLEANRL.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import gymnasium

SKIPPED = 77
STEPS = 256


def make_state() -> gymnasium.Env:
    """Return the environment as ppo.py wants it: one vector per observation."""
    return gymnasium.make("streamdit_gym:StreamDiT/PushT-Reach-v0", observation="state")


def main() -> None:
    """Run ppo.py for two iterations."""
    if "CLEANRL" not in os.environ:
        print("CleanRL | name the folder of its repository: CLEANRL=/path/to/cleanrl make interop")
        sys.exit(SKIPPED)
    repository = Path(os.environ["CLEANRL"]).resolve()
    show = ["git", "-C", str(repository), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(show, capture_output=True, text=True, check=False).stdout.strip()
    gymnasium.register("Reach-State-v0", entry_point=make_state)
    with TemporaryDirectory() as folder:
        os.chdir(folder)  # it writes into runs/
        options = ["--env-id", "Reach-State-v0", "--num-envs", "4", "--num-steps", "32"]
        sys.argv = ["ppo.py", *options, "--total-timesteps", str(STEPS), "--no-cuda"]
        runpy.run_path(str(repository / "cleanrl" / "ppo.py"), run_name="__main__")
        assert list(Path(folder, "runs").rglob("events.*")), "it wrote its curves"
    done = f"ppo.py, {STEPS} steps"
    print(f"CleanRL {commit or 'of no commit'} | make, observation='state'; {done}")


if __name__ == "__main__":
    main()
