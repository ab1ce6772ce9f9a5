"""The option ``--set NAME=VALUE ...``: details that few runs change.

A command says in `Command.setting_types` which names it takes, with the types that options have,
and in the help of its field `set` what they mean. docs/commands.md explains the option to users.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import tyro
import yaml

from streamdit_gym.checks import check_choice, shown
from streamdit_gym.cli.option_types import check_number, check_text, option_range
from streamdit_gym.errors import StreamDiTError, UnknownNameError

Settings = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")]


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Return ``name=value`` pairs as a dictionary; names and ranges are not checked.

    Values are YAML, and numbers also where YAML sees none, as in ``3e-4``.

    Raises:
        StreamDiTError: if one is no pair, or its value cannot be read.
    """
    return {name: _yaml_value(text) for name, text in _split_pairs(pairs).items()}


def typed_settings(pairs: Sequence[str], types: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``name=value`` pairs as a dictionary, each value in the type of its name.

    Args:
        pairs: what the user wrote.
        types: the type of every allowed name, see `option_types`. Of a tuple's type are values
            with commas between them.

    Raises:
        StreamDiTError: if one is no pair, or its value cannot be read.
        UnknownNameError: if a name or a value is none of the allowed ones.
        ArgumentError: if a value has another type, or is out of range.
    """
    settings = {}
    for name, text in _split_pairs(pairs).items():
        if name not in types:
            raise UnknownNameError("setting", name, types)
        settings[name] = _typed_value(name, text, types[name])
    return settings


def _split_pairs(pairs: Sequence[str]) -> dict[str, str]:
    texts = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            remedy = "as in n_epochs=5"
            raise StreamDiTError("not a setting", given=pair, allowed="NAME=VALUE", remedy=remedy)
        texts[name] = text
    return texts


def _typed_value(name: str, text: str, hint: Any) -> Any:
    kind = typing.get_origin(hint)
    if kind is tuple:
        part_type = typing.get_args(hint)[0]
        return tuple(_typed_value(name, part.strip(), part_type) for part in text.split(","))
    if kind is Literal:
        return check_choice(name, text, typing.get_args(hint))
    if hint is bool:
        return check_choice(name, text, ("true", "false")) == "true"
    allowed = option_range(hint)
    if allowed is None:
        return check_text(name, text)
    return check_number(name, _yaml_value(text), allowed)


def _yaml_value(text: str) -> Any:
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
