"""Deprecated: ``python -m streamdit_gym.agents.train`` is now ``streamdit-gym rl train``."""

from __future__ import annotations

import importlib
import sys
import warnings


def main(arguments: list[str] | None = None) -> int:
    """Run ``streamdit-gym rl train`` and return its exit status."""
    text = "python -m streamdit_gym.agents.train is now: streamdit-gym rl train"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    options = sys.argv[1:] if arguments is None else arguments
    command_line = importlib.import_module("streamdit_gym.cli")
    status: int = command_line.main(["rl", "train", *options])
    return status


if __name__ == "__main__":
    sys.exit(main())
