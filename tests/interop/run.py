"""Run other projects' programs on this checkout, each in a virtual environment of its own.

    make interop                                          all of them
    python tests/interop/run.py lerobot tianshou          some of them
    python tests/interop/run.py --folder DIR --only-installed

It prints one line for each and exits with status 1 if one failed. An environment is created once,
about 1 to 3 GB each, and reused until its list of packages changes. docs/interop.md has the
results.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "examples" / "interop"
FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "streamdit-interop"
SKIPPED = 77  # as in automake
MAX_SECONDS = 1800  # seconds for one program


@dataclass(frozen=True)
class Program:
    """A program of another project.

    Args:
        script: the file that runs it, in `examples/interop/` or in this folder.
        packages: what pip installs beside the packages that this project needs.
        bare: packages that pip installs without their dependencies.
        unpinned: packages whose version this program chooses, not constraints.txt.
        venv: another program's name, whose environment it shares.
    """

    script: str
    packages: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    unpinned: tuple[str, ...] = ()
    venv: str = ""

    @property
    def path(self) -> Path:
        """The script's path."""
        example = EXAMPLES / self.script
        return example if example.is_file() else HERE / self.script


@dataclass
class Outcome:
    """The result of one program."""

    name: str
    status: str
    detail: str
    seconds: float = field(default=0.0)

    def line(self) -> str:
        """Return the line that is printed."""
        return f"{self.name:<10} {self.status:<8} {self.seconds:5.0f} s  {self.detail}"


PROGRAMS = {
    "rllib": Program("rllib_ppo.py", ("ray[rllib]==2.60.0",), unpinned=("gymnasium",)),
    # LeRobot's newest for Python 3.11 asks for an older torch, for robots' drivers and for a viewer
    # of 700 MB; its policies, data sets and training program run without them
    "lerobot": Program(
        "lerobot_policies.py",
        (
            "accelerate",
            "av<16",
            "datasets>=4,<5",
            "deepdiff",
            "diffusers<0.36",
            "draccus==0.10.0",
            "huggingface_hub<0.36.3",
            "imageio",
            "jsonlines",
            "pandas",
            "pyarrow",
            "pyserial",
            "termcolor",
        ),
        bare=("lerobot==0.4.4", "torchvision==0.25.0"),
        unpinned=("av", "huggingface_hub", "pyarrow", "pillow"),
    ),
    "tianshou": Program("tianshou_dqn.py", ("tianshou==2.0.1",)),
    "torchrl": Program("torchrl_rollouts.py", ("torchrl==0.14.1",)),
    "minari": Program("minari_recording.py", ("minari[create,hdf5]==0.5.4", "array-api-compat")),
    "arrays": Program("check_arrays.py", venv="minari"),
    "rl_zoo3": Program(
        "rl_zoo_ppo.py",
        ("rl_zoo3==2.9.2", "requests", "moviepy", "tensorboard"),
        unpinned=("pillow",),
    ),
    "videos": Program("check_videos.py", venv="rl_zoo3"),
    "cleanrl": Program("cleanrl_ppo.py", venv="rl_zoo3"),
}


def needed_packages() -> list[str]:
    """Return the packages that this project needs."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["options"]["install_requires"].split()


def constraints(program: Program) -> str:
    """Return the versions that were tested together, without those that the program chooses."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    allowed = [pin for pin in pins if re.split("[<=>]", pin)[0] not in program.unpinned]
    return "\n".join(allowed) + "\n"


def run_logged(command: list[str], log: Path, **options: object) -> int:
    """Run a command, its output going to the end of a log, and return its exit status."""
    with log.open("a") as output:
        print("$", *command, file=output, flush=True)
        try:
            done = subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=MAX_SECONDS,
                check=False,
                **options,  # type: ignore[call-overload]
            )
        except subprocess.TimeoutExpired:
            print(f"stopped after {MAX_SECONDS} s", file=output)
            return 1
    return done.returncode


def python_of(venv: Path) -> Path:
    """Return an environment's Python."""
    return venv / ("Scripts" if os.name == "nt" else "bin") / "python"


def install(name: str, folder: Path, log: Path) -> bool:
    """Create a program's environment unless it is up to date; return whether it is there."""
    program = PROGRAMS[name]
    venv = folder / name
    wanted = "\n".join([*needed_packages(), *program.packages, *program.bare, constraints(program)])
    stamp = venv / "installed.txt"
    if stamp.is_file() and stamp.read_text() == wanted:
        return True
    limits = folder / f"{name}-constraints.txt"
    limits.write_text(constraints(program))
    pip = [str(python_of(venv)), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    commands = [
        [sys.executable, "-m", "venv", str(venv)],
        [*pip, "-c", str(limits), *needed_packages(), *program.packages],
    ]
    if program.bare:
        commands.append([*pip, "--no-deps", *program.bare])
    if any(run_logged(command, log) for command in commands):
        return False
    stamp.write_text(wanted)
    return True


def run(name: str, folder: Path, only_installed: bool) -> Outcome:
    """Run one program."""
    program = PROGRAMS[name]
    venv = folder / (program.venv or name)
    log = folder / f"{name}.log"
    log.write_text("")
    if only_installed and not python_of(venv).exists():
        return Outcome(name, "skipped", "not installed")
    if not install(program.venv or name, folder, log):
        return Outcome(name, "failed", f"cannot install it, see {log}")
    started_at = time.monotonic()
    variables = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    status = run_logged(
        [str(python_of(venv)), str(program.path)],
        log,
        cwd=folder,
        env={**os.environ, **variables},
    )
    seconds = time.monotonic() - started_at
    last = next(iter(log.read_text(errors="replace").splitlines()[::-1]), "")
    if status == 0:
        return Outcome(name, "ok", last, seconds)
    if status == SKIPPED:
        return Outcome(name, "skipped", last, seconds)
    return Outcome(name, "failed", f"{last[:200]} (see {log})", seconds)


def main() -> int:
    """Run the programs that are asked for; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=", ".join(PROGRAMS))
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    parser.add_argument("--only-installed", action="store_true", help="create no environment")
    options = parser.parse_args()
    unknown = sorted(set(options.programs) - set(PROGRAMS))
    if unknown:
        parser.error(f"unknown programs {', '.join(unknown)}; allowed: {', '.join(PROGRAMS)}")
    folder = options.folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in options.programs or PROGRAMS:
        outcome = run(name, folder, options.only_installed)
        print(outcome.line(), flush=True)
        failed |= outcome.status == "failed"
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
