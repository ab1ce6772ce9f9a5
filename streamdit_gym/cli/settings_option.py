"""The option ``--set NAME=VALUE ...``: settings that few runs change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import tyro
import yaml

from streamdit_gym.checks import shown
from streamdit_gym.errors import StreamDiTError, UnknownNameError

Settings = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")]


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Return ``name=value`` pairs as a dictionary.

    Values are YAML, and numbers also where YAML sees none, as in ``3e-4``.

    Raises:
        StreamDiTError: if one is no pair, or its value cannot be read.
    """
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            remedy = "as in n_epochs=5"
            raise StreamDiTError("not a setting", given=pair, allowed="NAME=VALUE", remedy=remedy)
        settings[name] = _value(text)
    return settings


def check_setting_names(settings: dict[str, Any], allowed: Sequence[str]) -> None:
    """Refuse settings that a command does not have.

    Raises:
        UnknownNameError: for the first of them.
    """
    for name in settings:
        if name not in allowed:
            raise UnknownNameError("setting", name, allowed)


def _value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        remedy = "quote it, as in 'net_arch=[64, 64]'"
        raise StreamDiTError(
            "a setting cannot be read", given=shown(text), allowed="YAML", remedy=remedy
        ) from error
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
