"""Deprecated: ``python -m streamdit_gym.agents.train`` is now ``streamdit-gym rl train``."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings

# former options that are settings now: --num-envs 4 is --set num_envs=4
SETTINGS = ("num_envs", "penalty", "check_every", "check_episodes", "tolerance")


def main(arguments: list[str] | None = None) -> int:
    """Run ``streamdit-gym rl train`` with former options and return its exit status."""
    text = "python -m streamdit_gym.agents.train is now: streamdit-gym rl train"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    command_line = importlib.import_module("streamdit_gym.cli")
    status: int = command_line.main(["rl", "train", *current_options(arguments)])
    return status


def current_options(arguments: list[str] | None) -> list[str]:
    """Return a former command line in the words of ``streamdit-gym rl train``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--set", nargs="*", default=[])
    for name in SETTINGS:
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name)
    former, others = parser.parse_known_args(arguments)
    settings = list(former.set)
    for name in SETTINGS:
        value = getattr(former, name)
        if value is not None:
            settings.append(f"{name}={value}")
    return [*others, "--set", *settings] if settings else others


if __name__ == "__main__":
    sys.exit(main())
