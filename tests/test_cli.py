"""The frame of the command line: ranges of numbers, and old names."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
import tyro

from streamdit_gym.cli import deprecated, main
from streamdit_gym.cli.command import Command
from streamdit_gym.cli.main import COMMANDS
from streamdit_gym.cli.option_types import Count, Range, option_range
from streamdit_gym.cli.record_command import Record
from streamdit_gym.errors import ArgumentError

MAX_OPTIONS = 98  # of all commands together; the goal is 80, and this number may only fall


def holds_numbers(hint: Any) -> bool:
    return hint in (int, float) or any(map(holds_numbers, typing.get_args(hint)))


def command_classes(hint: Any) -> list[type[Command]]:
    """Return the command of an entry, or the commands of a group such as ``rl``."""
    if isinstance(hint, type) and issubclass(hint, Command):
        return [hint]
    if inspect.isfunction(hint):
        hint = typing.get_type_hints(hint, include_extras=True)["command"]
    return [found for part in typing.get_args(hint) for found in command_classes(part)]


ALL_COMMANDS = [found for entry in COMMANDS.values() for found in command_classes(entry)]


def option_hints(command: type[Command]) -> dict[str, Any]:
    hints = typing.get_type_hints(command, include_extras=True)
    names = [field.name for field in dataclasses.fields(command)]  # type: ignore[arg-type]
    return {name: hints[name] for name in names}


def is_positional(hint: Any) -> bool:
    return tyro.conf.Positional in getattr(hint, "__metadata__", ())


def options() -> list[Any]:
    return [
        pytest.param(hint, id=f"{command.__name__}-{name}")
        for command in ALL_COMMANDS
        for name, hint in option_hints(command).items()
    ]


@pytest.mark.parametrize("hint", options())
def test_every_number_declares_its_range(hint: Any) -> None:
    if holds_numbers(hint):
        assert option_range(hint) is not None


def test_options_are_few() -> None:
    counts = {
        command.__name__: sum(not is_positional(hint) for hint in option_hints(command).values())
        for command in ALL_COMMANDS
    }
    assert sum(counts.values()) <= MAX_OPTIONS, counts
    assert max(counts["Train"], counts["Distill"], counts["DistillDecoder"]) <= 10


def test_a_range_is_found_in_optional_and_repeated_numbers() -> None:
    assert option_range(Count | None) == option_range(tuple[Count, ...]) == Range(1, 10**9)
    assert option_range(int) is None


@pytest.mark.parametrize(
    ("option", "value"),
    [("shards", 0), ("steps", 10**10), ("seed", -1), ("out", Path("a\0b")), ("world", "\udc80")],
)
def test_a_value_out_of_range_is_refused_by_its_option(option: str, value: Any) -> None:
    values = {"world": "PushT", option: value}
    with pytest.raises(ArgumentError, match=f"--{option}"):
        Record(**values).check_options()


def test_no_command_runs_without_its_own_code() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Command()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["correct", "PushT"], ["relabel", "PushT"]),
        (["generate", "PushT", "--player", "random"], ["generate", "PushT", "--policy", "random"]),
        (["generate", "PushT", "--player=random"], ["generate", "PushT", "--policy=random"]),
    ],
)
def test_old_names_work_with_a_warning(
    old: list[str], new: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert deprecated.current_arguments(old) == new
    assert "the old name goes with the next release" in capsys.readouterr().err


def test_todays_names_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "PushT", "--policy", "random", "--keep-if", "drift<0.2"]
    assert deprecated.current_arguments(words) == words
    assert capsys.readouterr().err == ""


def test_a_removed_option_names_what_took_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(deprecated.REMOVED_OPTIONS, ("record", "--colour"), "set it in the recipe")
    assert main(["record", "PushT", "--colour", "3"]) == 2
    assert "set it in the recipe" in capsys.readouterr().err


def test_reading_the_command_line_loads_no_heavy_package() -> None:
    code = (
        "import sys, streamdit_gym.cli.main;"
        "print([m for m in ('torch', 'cv2', 'stable_baselines3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
