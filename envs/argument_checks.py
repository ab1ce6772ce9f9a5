"""Checks of an environment's arguments; they change nothing."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium.vector import AutoresetMode

from streamdit_gym.checks import check_bool, check_choice, check_str, shown
from streamdit_gym.errors import ArgumentError

MAX_PATH_PART_BYTES = 255


def check_dtype(dtype: Any) -> str:
    """Return the name of a precision, given as a name or as torch's own object."""
    name = str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else dtype
    return check_choice("dtype", name, ("float32", "bfloat16"))


def check_autoreset_mode(mode: Any) -> AutoresetMode:
    """Return an autoreset mode, given as such, by its name or by its value.

    ``"NEXT_STEP"`` is a name, ``"NextStep"`` is a value.
    """
    if isinstance(mode, AutoresetMode):
        return mode
    values = {mode.value: mode for mode in AutoresetMode}
    if isinstance(mode, str) and mode in values:
        return values[mode]
    names = {mode.name: mode for mode in AutoresetMode}
    return names[check_choice("autoreset_mode", mode, names)]


def check_real_world(real: Any) -> bool | str:
    """Return whether the reference simulator is asked for: a truth value, or its definition.

    Raises:
        ArgumentError: if it is neither, or could be neither a name nor a path.
    """
    return check_world("real", real) if isinstance(real, str) else check_bool("real", real)


def check_world(name: str, world: Any) -> str:
    """Return a world's name or path.

    Raises:
        ArgumentError: if it is no text, empty, or could not be a path.
    """
    text = check_str(name, world)
    if text == "" and name == "world":
        raise ArgumentError(
            "no world is given",
            given="world=''",
            allowed="a registered name, a folder or a Hub id user/repository",
            remedy='gymnasium.make("StreamDiT/World-v0", world="runs/NAME/world")',
        )
    longest_part = max(len(part.encode()) for part in text.split("/"))
    if not text.strip() or not text.isprintable() or longest_part > MAX_PATH_PART_BYTES:
        raise ArgumentError(
            f"{name} cannot be used",
            given=shown(text),
            allowed="a shipped name, a folder or a Hub id user/repository",
            remedy=f"change {name}",
        )
    return text
