"""The frame of the command line: ranges of numbers, and old names."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tyro

from streamdit_gym.cli import deprecated, main
from streamdit_gym.cli.command import Command
from streamdit_gym.cli.main import COMMANDS
from streamdit_gym.cli.option_types import Count, Range, option_range
from streamdit_gym.cli.record_command import Record
from streamdit_gym.cli.settings_option import typed_settings
from streamdit_gym.errors import ArgumentError, StreamDiTError

ROOT = Path(__file__).resolve().parent.parent

MAX_OPTIONS = 92  # of all commands together; details are settings, see settings_option


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


def commands_with_settings() -> list[Any]:
    return [
        pytest.param(name, command, id=name)
        for name, command in COMMANDS.items()
        if inspect.isclass(command) and issubclass(command, Command) and command.setting_types
    ]


@pytest.mark.parametrize(("name", "command"), commands_with_settings())
def test_every_setting_stands_in_the_help_and_on_the_page_of_commands(
    name: str, command: type[Command], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = capsys.readouterr().out
    page = (ROOT / "docs" / "commands.md").read_text()
    for setting in command.setting_types:
        assert re.search(rf"\b{setting}[=:]", text), setting
        assert f"`{setting}`" in page, setting


def test_every_former_option_has_a_setting_that_its_command_takes() -> None:
    for name, settings in deprecated.SETTING_OPTIONS.items():
        if name != "rl train":  # its names include hyperparameters
            command: Any = COMMANDS[name]
            assert set(settings.values()) <= set(command.setting_types)


SETTING_TYPES = {
    "steps": Count,
    "share": Annotated[float, Range(0.0, 1.0)],
    "folder": str,
    "dtypes": tuple[Literal["float32", "bfloat16"], ...],
}


def test_settings_have_the_types_of_their_names() -> None:
    pairs = ["steps=3", "share=1e-1", "folder=2024", "dtypes=float32, bfloat16"]
    assert typed_settings(pairs, SETTING_TYPES) == {
        "steps": 3,
        "share": 0.1,
        "folder": "2024",
        "dtypes": ("float32", "bfloat16"),
    }


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("steps", "NAME=VALUE"),
        ("step=3", "did you mean 'steps'"),
        ("steps=0", "steps cannot be used"),
        ("steps=many", "steps cannot be used"),
        ("steps=[1", "a setting cannot be read"),
        ("share=2", "share cannot be used"),
        ("share=.nan", "share cannot be used"),
        ("folder=a\0b", "without NUL"),
        ("dtypes=float32,float16", "did you mean"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(pair: str, message: str) -> None:
    with pytest.raises(StreamDiTError, match=message):
        typed_settings([pair], SETTING_TYPES)


@pytest.mark.parametrize("command", ["bench", "evaluate PushT", "play PushT", "record PushT"])
def test_commands_refuse_unknown_settings(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--set", "colour=red"]) == 2
    assert "unknown setting 'colour'" in capsys.readouterr().err


def test_a_range_is_found_in_optional_and_repeated_numbers() -> None:
    assert option_range(Count | None) == option_range(tuple[Count, ...]) == Range(1, 10**9)
    assert option_range(int) is None


@pytest.mark.parametrize(
    ("option", "value"),
    [("shards", 0), ("shards", 10**10), ("out", Path("a\0b")), ("world", "\udc80")],
)
def test_a_value_out_of_range_is_refused_by_its_option(option: str, value: Any) -> None:
    values = {"world": "PushT", option: value}
    with pytest.raises(ArgumentError, match=f"--{option}"):
        Record(**values).check_options()


def test_a_setting_out_of_range_is_refused_before_the_command_runs() -> None:
    with pytest.raises(ArgumentError, match="seed cannot be used"):
        Record(world="PushT", set=("seed=-1",)).check_options()


def test_no_command_runs_without_its_own_code() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Command()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["correct", "PushT"], ["relabel", "PushT"]),
        (["generate", "PushT", "--player", "random"], ["generate", "PushT", "--policy", "random"]),
        (["generate", "PushT", "--player=random"], ["generate", "PushT", "--policy=random"]),
        (["play", "PushT", "--allow-host", "a.example"], ["play", "PushT", "--proxy", "a.example"]),
        (["record", "PushT", "--steps=9"], ["record", "PushT", "--set", "steps=9"]),
        (["record", "--episodes", "9", "PushT"], ["record", "PushT", "--set", "episodes=9"]),
        (["evaluate", "PushT", "--late", "3"], ["evaluate", "PushT", "--set", "extra_latency=3"]),
        (["play", "PushT", "--fps", "9"], ["play", "PushT", "--set", "fps=9"]),
        (["play", "PushT", "--window"], ["play", "PushT", "--set", "show=window"]),
        (["bench", "--compile"], ["bench", "--set", "compiled=true"]),
        (["generate", "PushT", "--ray", "auto"], ["generate", "PushT", "--set", "ray=auto"]),
        (
            ["bench", "--dtype", "float32", "bfloat16", "--long", "9", "--envs", "1"],
            ["bench", "--envs", "1", "--set", "dtypes=float32,bfloat16", "long_steps=9"],
        ),
        (["rl", "train", "--films", "1"], ["rl", "train", "--set", "films=1"]),
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


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("demo --episodes 8", "demo(episodes=...)"),
        ("demo --trust-agents", "policy file"),
        ("inspect runs/data --sheet a.png", "contact.png"),
        ("play PushT --root-path /lab", "--proxy lab.example/lab"),
        ("rl evaluate random --ceiling runs/agent", "progress_to_ceiling"),
    ],
)
def test_options_that_left_name_a_remedy(
    command: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 2
    assert remedy in " ".join(capsys.readouterr().err.split())


def test_reading_the_command_line_loads_no_heavy_package() -> None:
    code = (
        "import sys, streamdit_gym.cli.main;"
        "print([m for m in ('torch', 'cv2', 'stable_baselines3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
