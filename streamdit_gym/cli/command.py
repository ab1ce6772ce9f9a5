"""What every command of the command line is: a dataclass of options that can run."""

from __future__ import annotations

import dataclasses
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from streamdit_gym.cli.option_types import Range, check_number, check_text, option_range
from streamdit_gym.cli.settings_option import typed_settings


class Command(ABC):
    """Base of all commands: a frozen dataclass whose fields are the options.

    The docstrings of class and fields are the help. `run` imports what it needs itself, so that
    no command waits for another's packages.
    """

    resume_options: ClassVar[str] = ""  # what to add to the command line after an interruption
    setting_types: ClassVar[Mapping[str, Any]] = {}  # what --set takes, and of which type

    @abstractmethod
    def run(self) -> None:
        """Do the work."""

    def settings(self) -> dict[str, Any]:
        """Return the values of ``--set``, checked; see `typed_settings` for what is raised."""
        return typed_settings(getattr(self, "set", ()), self.setting_types)

    def check_options(self) -> None:
        """Refuse numbers out of range and texts that no file or world can be called.

        Raises:
            ArgumentError: for the first option that cannot be used.
            UnknownNameError: for the first unknown name of ``--set``.
        """
        hints = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            option = f"--{field.name.replace('_', '-')}"
            allowed = option_range(hints[field.name])
            for part in value if isinstance(value, tuple) else (value,):
                _check_value(option, part, allowed)
        if self.setting_types:
            self.settings()


def _check_value(option: str, value: Any, allowed: Range | None) -> None:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        assert allowed is not None, f"{option} declares no range"
        check_number(option, value, allowed)
    elif isinstance(value, (str, Path)):
        check_text(option, str(value))
