"""Deprecated: ``python -m streamdit_gym.agents.evaluate`` is now ``streamdit-gym rl evaluate``."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings


def main(arguments: list[str] | None = None) -> int:
    """Run ``streamdit-gym rl evaluate`` with former options and return its exit status."""
    text = "python -m streamdit_gym.agents.evaluate is now: streamdit-gym rl evaluate"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--num-envs", "--num_envs")  # chosen by the number of episodes now
    _, others = parser.parse_known_args(arguments)
    command_line = importlib.import_module("streamdit_gym.cli")
    status: int = command_line.main(["rl", "evaluate", *others])
    return status


if __name__ == "__main__":
    sys.exit(main())
