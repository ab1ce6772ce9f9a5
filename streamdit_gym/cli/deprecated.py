"""Old names of commands and options: they work for one release, with a warning.

An owner of a command adds a line to a table here when an option changes its name or leaves.
"""

from __future__ import annotations

import sys
from collections import deque

from streamdit_gym.cli.recipe_options import removed_options
from streamdit_gym.errors import ArgumentError

COMMAND_GROUP = "rl"  # its commands have two words
RENAMED_COMMANDS = {"correct": "relabel"}

# (command, old option): new option
RENAMED_OPTIONS = {
    ("generate", "--player"): "--policy",
    ("play", "--allow-host"): "--proxy",
}

RELABELLED_REMEDY = 'write a recipe file with relabelled=("FOLDER",), see docs/worlds.md'

# (command, removed option): what to do instead, such as the recipe field that took its place
REMOVED_OPTIONS: dict[tuple[str, str], str] = {
    ("record", "--drilled"): "leave it out: the world says how many episodes have a hard start",
    ("bench", "--json-file"): "use --out FOLDER: it gets bench.json and bench.png",
    ("bench", "--picture"): "use --out FOLDER: it gets bench.json and bench.png",
    ("evaluate", "--html"): "use --out FOLDER: it gets page.html, scores.json and strips.png",
    ("evaluate", "--json"): "use --out FOLDER: it gets page.html, scores.json and strips.png",
    ("evaluate", "--picture"): "use --out FOLDER: it gets page.html, scores.json and strips.png",
    ("evaluate", "--against"): "leave it out: a world is compared with its own simulator",
    ("train", "--corrections"): RELABELLED_REMEDY,
    ("train", "--relabelled"): RELABELLED_REMEDY,
    ("inspect", "--sheet"): "leave it out: the contact sheet is contact.png in the folder",
    ("demo", "--episodes"): "leave it out: a score has 64; demo(episodes=...) in Python",
    ("demo", "--trust-agents"): (
        "make a policy file of the agent, see docs/agents.md; or demo(trust_agents=True) in Python"
    ),
    ("play", "--root-path"): "write it behind the host's name: --proxy lab.example/lab",
    ("play", "--scope"): "choose it on the page, or LiveStream(prompt_scope=...) in Python",
    ("play", "--transition"): "choose it on the page, or LiveStream(transition=...) in Python",
    ("play", "--twin"): "leave it out: the simulator is shown where there is one",
    ("play", "--no-twin"): "LiveStream(world) in Python runs without the simulator",
    ("play", "--seconds"): "leave it out: a film ends five seconds after the script's last prompt",
    ("play", "--dtype"): "LiveStream(world, autocast=True) in Python runs in bfloat16",
    (
        "rl evaluate",
        "--ceiling",
    ): "agents.evaluate_run.progress_to_ceiling in Python, see docs/agents.md",
    **removed_options(),
}


# command: {old option: the name that --set knows its value by}
SETTING_OPTIONS: dict[str, dict[str, str]] = {
    "bench": {
        "--dtype": "dtypes",
        "--long": "long_steps",
        "--partition": "partitions",
        "--preset": "preset",
        "--steps": "steps",
    },
    "evaluate": {
        "--episodes": "episodes",
        "--extra-latency": "extra_latency",
        "--late": "extra_latency",
        "--partition": "partition",
        "--policy-env": "policy_env",
        "--teacher-partition": "teacher_partition",
    },
    "export": {"--to": "to"},
    "generate": {
        "--batch": "batch",
        "--dtype": "dtype",
        "--images": "images",
        "--over": "over",
        "--partition": "partition",
        "--ray": "ray",
        "--seed": "seed",
        "--strength": "strength",
        "--task": "task",
    },
    "plan": {"--episodes": "episodes"},
    "play": {
        "--fps": "fps",
        "--partition": "partition",
        "--seed": "seed",
    },
    "record": {
        "--episodes": "episodes",
        "--seed": "seed",
        "--steps": "steps",
        "--workers": "workers",
    },
    "relabel": {
        "--episodes": "episodes",
        "--seed": "seed",
        "--steps": "steps",
        "--workers": "workers",
    },
    "rl train": {
        "--check-episodes": "check_episodes",
        "--check-every": "check_every",
        "--episodes": "episodes",
        "--films": "films",
        "--num-envs": "num_envs",
        "--observation": "observation",
        "--penalty": "penalty",
        "--tolerance": "tolerance",
    },
}
# flags that are a setting now
SETTING_FLAGS = {
    ("bench", "--compile"): "compiled=true",
    ("distill", "--compile"): "compile=true",
    ("play", "--browser"): "show=browser",
    ("play", "--no-browser"): "show=page",
    ("play", "--window"): "show=window",
}
# of these the former option took several values, all words up to the next option
SEVERAL_VALUES = {("bench", "--dtype"), ("bench", "--partition")}


def current_arguments(arguments: list[str]) -> list[str]:
    """Return a command line in today's words, and warn on standard error of every old one.

    Raises:
        ArgumentError: for an option that was removed.
    """
    if not arguments:
        return arguments
    first = RENAMED_COMMANDS.get(arguments[0], arguments[0])
    if first != arguments[0]:
        _warn(arguments[0], first)
    command_words = [first, *arguments[1:2]] if first == COMMAND_GROUP else [first]
    command = " ".join(command_words)
    others = arguments[len(command_words) :]
    options = [_current_option(command, argument) for argument in others]
    return [*command_words, *_with_settings(command, options)]


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


def _with_settings(command: str, arguments: list[str]) -> list[str]:
    """Return the options of a command, former ones as values of ``--set``."""
    current = []
    settings = []
    words = deque(arguments)
    while words:
        word = words.popleft()
        setting = _setting(command, word, words)
        if setting is None:
            current.append(word)
        else:
            settings.append(setting)
    if not settings:
        return current
    if "--set" not in current:
        current.append("--set")
    place = current.index("--set") + 1
    return [*current[:place], *settings, *current[place:]]


def _setting(command: str, word: str, words: deque[str]) -> str | None:
    """Return the setting that a former option is now, with its value; None: it is no such option.

    Args:
        command: that is given.
        word: maybe a former option.
        words: behind it; those that are its value are taken away.
    """
    option, equals, value = word.partition("=")
    option = option.replace("_", "-")
    flag = SETTING_FLAGS.get((command, option))
    if flag is not None:
        _warn(option, f"--set {flag}")
        return flag
    name = SETTING_OPTIONS.get(command, {}).get(option)
    if name is None:
        return None
    if not equals:
        value = _take_value(words, several=(command, option) in SEVERAL_VALUES)
    _warn(option, f"--set {name}=")
    return f"{name}={value}"


def _take_value(words: deque[str], *, several: bool) -> str:
    """Take an option's value from the words behind it; several are joined by commas."""
    if not several:
        return words.popleft() if words else ""
    values = []
    while words and not words[0].startswith("--"):
        values.append(words.popleft())
    return ",".join(values)


def _warn(old: str, new: str) -> None:
    print(
        f"warning: {old} is now called {new}; the old name goes with the next release",
        file=sys.stderr,
    )
