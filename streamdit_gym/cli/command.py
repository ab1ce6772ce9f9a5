"""What every command of the command line is: a dataclass of options that can run."""

from __future__ import annotations

import dataclasses
import typing
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from streamdit_gym.checks import check_int, check_real, check_str, shown
from streamdit_gym.cli.option_types import Range, option_range
from streamdit_gym.errors import ArgumentError


class Command(ABC):
    """Base of all commands: a frozen dataclass whose fields are the options.

    The docstrings of class and fields are the help. `run` imports what it needs itself, so that
    no command waits for another's packages.
    """

    resume_options: ClassVar[str] = ""  # what to add to the command line after an interruption

    @abstractmethod
    def run(self) -> None:
        """Do the work."""

    def check_options(self) -> None:
        """Refuse numbers out of range and texts that no file or world can be called.

        Raises:
            ArgumentError: for the first option that cannot be used.
        """
        hints = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            option = f"--{field.name.replace('_', '-')}"
            allowed = option_range(hints[field.name])
            for part in value if isinstance(value, tuple) else (value,):
                _check_value(option, part, allowed)


def _check_value(option: str, value: Any, allowed: Range | None) -> None:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        assert allowed is not None, f"{option} declares no range"
        if isinstance(allowed.least, int):
            check_int(option, value, least=allowed.least, most=int(allowed.most))
        else:
            check_real(option, value, least=allowed.least, most=allowed.most)
    elif isinstance(value, (str, Path)):
        _check_text(option, str(value))


def _check_text(option: str, value: str) -> None:
    text = check_str(option, value)
    if "\0" in text:
        raise ArgumentError(
            f"{option} cannot be used",
            given=shown(text),
            allowed="a text without NUL",
            remedy=f"change {option}",
        )
