"""Old names of commands and options: they work for one release, with a warning.

An owner of a command adds a line to a table here when an option changes its name or leaves.
"""

from __future__ import annotations

import sys

from streamdit_gym.cli.recipe_options import removed_options
from streamdit_gym.errors import ArgumentError

RENAMED_COMMANDS = {"correct": "relabel"}

# (command, old option): new option
RENAMED_OPTIONS = {
    ("record", "--drilled"): "--hard-starts",
    ("generate", "--player"): "--policy",
    ("train", "--corrections"): "--relabelled",
}

# (command, removed option): what to do instead, such as the recipe field that took its place
REMOVED_OPTIONS: dict[tuple[str, str], str] = {
    ("play", "--scope"): "choose it on the page, or LiveStream(prompt_scope=...) in Python",
    ("play", "--transition"): "choose it on the page, or LiveStream(transition=...) in Python",
    ("play", "--twin"): "leave it out: the simulator is shown where there is one",
    ("play", "--no-twin"): "LiveStream(world) in Python runs without the simulator",
    ("play", "--seconds"): "leave it out: a film ends five seconds after the script's last prompt",
    ("play", "--dtype"): "LiveStream(world, autocast=True) in Python runs in bfloat16",
    **removed_options(),
}


def current_arguments(arguments: list[str]) -> list[str]:
    """Return a command line in today's words, and warn on standard error of every old one.

    Raises:
        ArgumentError: for an option that was removed.
    """
    if not arguments:
        return arguments
    command = RENAMED_COMMANDS.get(arguments[0], arguments[0])
    if command != arguments[0]:
        _warn(arguments[0], command)
    return [command, *(_current_option(command, argument) for argument in arguments[1:])]


def _current_option(command: str, argument: str) -> str:
    option, equals, value = argument.partition("=")
    if not option.startswith("--"):
        return argument
    option = option.replace("_", "-")  # the parser takes both spellings
    key = (command, option)
    if key in REMOVED_OPTIONS:
        raise ArgumentError(
            f"{command} has no option {option} any more",
            given=argument,
            remedy=REMOVED_OPTIONS[key],
        )
    if key not in RENAMED_OPTIONS:
        return argument
    _warn(option, RENAMED_OPTIONS[key])
    return RENAMED_OPTIONS[key] + equals + value


def _warn(old: str, new: str) -> None:
    print(
        f"warning: {old} is now called {new}; the old name goes with the next release",
        file=sys.stderr,
    )
