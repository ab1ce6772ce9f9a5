"""What commands take for open video models, ``wan:FOLDER`` or ``wan:HUB-ID``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from streamdit_gym.cli.option_types import Range
from streamdit_gym.errors import ArgumentError

if TYPE_CHECKING:
    from streamdit_gym.open_weights.load_open_model import OpenSettings

GUIDE = "docs/guides/open_weights.md"
Pixels = Annotated[int, Range(8, 8192)]
# how an open model is loaded; settings of other commands may have the same names
OPEN_SETTINGS: Mapping[str, Any] = {
    "prompt": str,
    "negative_prompt": str,
    "frame_size": tuple[Pixels, ...],
    "partition": str,
    "guidance": Annotated[float, Range(0.0, 100.0)],
    "time_shift": Annotated[float, Range(0.01, 100.0)],
    "clip_steps": Annotated[int, Range(1, 1000)],
    "adapter": str,
    "dtype": Literal["float32", "bfloat16"],
}


def is_open_model(name: str) -> bool:
    """Return whether a command's world is an open video model."""
    from streamdit_gym.world_folders import OPEN_MODEL_PREFIX

    return name.startswith(OPEN_MODEL_PREFIX)


def open_settings(settings: Mapping[str, Any], device: str) -> OpenSettings:
    """Return how a command loads an open model.

    Args:
        settings: values of ``--set``; those of other names are left out.
        device: where it runs.

    Raises:
        ArgumentError: if one cannot be used.
    """
    from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS, check_prompt
    from streamdit_gym.open_weights.load_open_model import OpenSettings

    values = {name: settings[name] for name in OPEN_SETTINGS if name in settings}
    if "frame_size" in values:
        values["frame_size"] = checked_size(values["frame_size"])
    if "prompt" in values:
        values["idle"] = check_prompt(values.pop("prompt"), MAX_LONG_PROMPT_CHARS)
    return OpenSettings(**values, device=device)


def checked_size(sides: Sequence[int]) -> tuple[int, int]:
    """Return height and width.

    Raises:
        ArgumentError: if these are not two.
    """
    if len(sides) != 2:
        raise ArgumentError(
            "frame_size cannot be used",
            given=",".join(map(str, sides)),
            allowed="height and width",
            remedy="frame_size=480,832",
        )
    return sides[0], sides[1]


def require_open_model(name: str) -> None:
    """Refuse a world where an open model is trained.

    Raises:
        ArgumentError: if it is one.
    """
    if not is_open_model(name):
        raise ArgumentError(
            "only open models are fine-tuned",
            given=name,
            allowed="wan:FOLDER or wan:HUB-ID",
            remedy=f"of a world: streamdit-gym train {name}",
        )


def refuse_settings(given: Collection[str], refused: Collection[str], what: str) -> None:
    """Refuse settings and options that mean nothing for what a command is given.

    Args:
        given: names that the user wrote.
        refused: names that cannot be used here.
        what: is given, such as "an open model".

    Raises:
        ArgumentError: if any was written.
    """
    names = sorted(set(given) & set(refused))
    if names:
        raise ArgumentError(
            f"{what} does not take this",
            given=", ".join(names),
            allowed=f"see {GUIDE}",
            remedy=f"leave {', '.join(names)} out",
        )
