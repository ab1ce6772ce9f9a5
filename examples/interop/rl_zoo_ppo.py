"""RL Baselines3 Zoo trains PPO with this project's hyperparameters and runs the saved agent.

It runs where rl_zoo3 is installed, see docs/interop.md.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

ID = "StreamDiT/PushT-Reach-v0"
HYPERPARAMETERS = Path(__file__).resolve().parents[2] / "agents" / "hyperparameters" / "ppo.yml"
STEPS = 512


def zoo(command: str, folder: str, *options: str) -> None:
    """Run one of the Zoo's commands."""
    shared = ["--algo", "ppo", "--env", ID, "--gym-packages", "streamdit_gym", "-f", folder]
    subprocess.run([sys.executable, "-m", f"rl_zoo3.{command}", *shared, *options], check=True)


def main() -> None:
    """Train and run the agent."""
    with TemporaryDirectory() as folder:
        quick = ["-n", str(STEPS), "--eval-freq", "-1", "--hyperparams", "n_steps:16"]
        zoo("train", folder, "--conf-file", str(HYPERPARAMETERS), *quick)
        assert list(Path(folder).rglob("*.zip")), "the agent is saved"
        zoo("enjoy", folder, "--no-render", "-n", "32")
    print(f"RL Zoo {version('rl_zoo3')} | the documented command; PPO, {STEPS} steps, then enjoy")


if __name__ == "__main__":
    main()
