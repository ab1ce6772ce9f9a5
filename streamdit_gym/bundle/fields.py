"""The fields of a bundle's ``config.json``, and the check of each.

Takes: a field's name and value.  Gives: the value in its plain type, or an error that names it.
Knows nothing of: files, how the fields fit together.

The bounds leave room for the preset ``paper-4b``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from streamdit_gym.checks import check_bool, check_int, check_prompt, check_real, check_str, shown
from streamdit_gym.definition import Task, WorldSpec
from streamdit_gym.errors import ArgumentError, BundleError
from streamdit_gym.model.conv_codec import ConvCodecConfig
from streamdit_gym.model.readout import ReadoutConfig
from streamdit_gym.model.streamdit import StreamDiTConfig

FORMAT = 1
CONFIG = "config.json"
MAX_FILE_BYTES = 2**40
MAX_FACTS_DEPTH = 32
AGAIN = "get the bundle again"


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """What ``config.json`` says of another file."""

    bytes: int
    sha256: str


Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Field:
    """A field of an object: its check, and whether it must be there.

    Fields that came later need not be there; their dataclass has the default.
    """

    check: Check
    required: bool = True


def refused(name: str, value: Any, allowed: str) -> ArgumentError:
    """Return the error of a field that cannot be used."""
    given = f"{type(value).__name__} {shown(value)}"
    return ArgumentError(
        f"{name} cannot be used",
        given=given,
        allowed=allowed,
        remedy=f"change {name}",
    )


def check_dictionary(name: str, value: Any) -> dict[str, Any]:
    """Return an object of JSON."""
    if not isinstance(value, dict):
        raise refused(name or CONFIG, value, "an object")
    return value


def check_object(name: str, value: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the checked fields of an object."""
    given = check_dictionary(name, value)
    where = f"{name}." if name else ""
    unknown = [f"{where}{shown(key)[1:-1]}" for key in given if key not in fields]
    if unknown:
        raise BundleError(
            f"{CONFIG} has a field that this package does not know",
            given=", ".join(unknown[:5]),
            allowed=", ".join(fields),
            remedy="upgrade streamdit_gym",
        )
    missing = [key for key, field in fields.items() if field.required and key not in given]
    if missing:
        lacking = ", ".join(f"{where}{key}" for key in missing)
        raise BundleError(f"{CONFIG} lacks a field", given=lacking, remedy=AGAIN)
    return {key: fields[key].check(f"{where}{key}", item) for key, item in given.items()}


def _made(kind: type, fields: Mapping[str, Field]) -> Check:
    """Check an object and make a dataclass of it."""
    return lambda name, value: kind(**check_object(name, value, fields))


def _each(check: Check, *, least: int, most: int) -> Check:
    """Check a list, and each of its items."""

    def check_list(name: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise refused(name, value, f"a list of {least} to {most}")
        return tuple(check(f"{name}[{i}]", item) for i, item in enumerate(value))

    return check_list


def _distinct(check: Check) -> Check:
    """Check a list as `check` does, and that nothing is in it twice."""

    def check_list(name: str, value: Any) -> tuple[Any, ...]:
        items = check(name, value)
        if len(set(items)) < len(items):
            twice = next(item for i, item in enumerate(items) if item in items[:i])
            raise refused(name, twice, "each item once")
        return items

    return check_list


def _named(check: Check, names: Check, most: int) -> Check:
    """Check an object with free names, and each of its items."""

    def check_items(name: str, value: Any) -> dict[str, Any]:
        items = check_dictionary(name, value)
        if len(items) > most:
            raise refused(name, value, f"an object of up to {most}")
        for key in items:
            names(f"a name in {name}", key)
        return {key: check(f"{name}.{key}", item) for key, item in items.items()}

    return check_items


def _optional(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _matches(pattern: str, allowed: str) -> Check:
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise refused(name, value, allowed)
        return value

    return check


def _prompt(name: str, value: Any) -> str:
    try:
        check_prompt(value)
    except ArgumentError as error:
        raise refused(name, value, str(error.allowed)) from error
    return str(value)


def _text(name: str, value: Any, most: int = 1000) -> str:
    """Return a text that was embedded or trained on, of any length that prompts ever had."""
    text = check_str(name, value)
    if not text.strip() or len(text) > most:
        raise refused(name, value, f"1 to {most} characters")
    return text


def _label(name: str, value: Any, most: int = 64) -> str:
    """Return a text of one line."""
    text = check_str(name, value)
    if not text.strip() or len(text) > most or not text.isprintable():
        raise refused(name, value, f"1 to {most} printable characters")
    return text


def _number_or_nothing(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise refused(name, value, "a number or null")


def _scores(name: str, value: Any) -> None:
    criteria = check_dictionary(name, value).get("promises", [])
    if not isinstance(criteria, list) or not all(isinstance(item, dict) for item in criteria):
        raise refused(f"{name}.promises", criteria, "a list of objects")


def _check_json(name: str, value: Any, depth: int) -> None:
    """Refuse texts that cannot be written, and nesting so deep that writing would fail."""
    if isinstance(value, str):
        check_str(name, value)
    if not isinstance(value, (dict, list)):
        return
    if not depth:
        raise refused(name, value, f"values nested up to {MAX_FACTS_DEPTH} deep")
    if isinstance(value, dict):
        for key in value:
            check_str(f"a name in {name}", key)
    for item in value.values() if isinstance(value, dict) else value:
        _check_json(name, item, depth - 1)


def check_facts(name: str, value: Any) -> dict[str, Any]:
    """Return a bundle's facts; those that this package uses have a type, others may be any JSON."""
    facts = check_dictionary(name, value)
    _check_json(name, facts, MAX_FACTS_DEPTH)
    for key, check in KNOWN_FACTS.items():
        if key in facts:
            check(f"{name}.{key}", facts[key])
    return facts


def without_nan(value: Any) -> Any:
    """Return facts as strict JSON can hold them: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---- the fields ----

_file_name = _matches(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
    "up to 64 letters, digits, '-', '_' and '.', of which the first is a letter or digit",
)
_names = Field(_distinct(_each(_label, least=0, most=256)))

MODEL = {
    "channels": Field(partial(check_int, least=1, most=1024)),
    "looks": Field(partial(check_int, least=0, most=1023), required=False),
    "grid": Field(partial(check_int, least=1, most=512)),
    "patch": Field(partial(check_int, least=1, most=64)),
    "width": Field(partial(check_int, least=4, most=16384)),
    "depth": Field(partial(check_int, least=1, most=256)),
    "heads": Field(partial(check_int, least=1, most=512)),
    "text_width": Field(partial(check_int, least=1, most=16384)),
    "window": Field(_each(partial(check_int, least=0, most=4096), least=3, most=3)),
    "causal": Field(check_bool),
    "references": Field(partial(check_int, least=0, most=256)),
    "reference_time": Field(partial(check_real, above=0, most=1)),
    "temperature": Field(partial(check_real, least=0, most=100), required=False),
    "guidance": Field(partial(check_real, least=0, most=100), required=False),
    "refine": Field(partial(check_int, least=0, most=8192), required=False),
    "refine_blocks": Field(partial(check_int, least=0, most=64), required=False),
}
CODEC = {
    "size": Field(partial(check_int, least=8, most=4096)),
    "channels": Field(partial(check_int, least=1, most=1024)),
    "looks": Field(partial(check_int, least=0, most=1023), required=False),
    "width": Field(partial(check_int, least=8, most=4096)),
    "blocks": Field(partial(check_int, least=0, most=64)),
    "decoder_blocks": Field(_optional(partial(check_int, least=0, most=64)), required=False),
}
HEADS = {
    "channels": Field(partial(check_int, least=1, most=1024)),
    "grid": Field(partial(check_int, least=1, most=512)),
    "width": Field(partial(check_int, least=1, most=4096)),
    "state_names": _names,
    "score_names": _names,
}
TASK = {
    "potential": Field(_label),
    "success": Field(_label),
    "scale": Field(partial(check_real, least=-1e6, most=1e6)),
    "bonus": Field(partial(check_real, least=-1e6, most=1e6)),
    "threshold": Field(partial(check_real, least=0, most=1)),
    "horizon": Field(partial(check_int, least=1, most=10**6)),
    "about": Field(partial(_label, most=500)),
}
SPEC = {
    "name": Field(_file_name),
    "size": Field(partial(check_int, least=8, most=4096)),
    "fps": Field(partial(check_real, above=0, most=1000)),
    "menu": Field(_each(_each(_prompt, least=1, most=10**5), least=1, most=4096)),
    "state_names": _names,
    "score_names": _names,
    "tasks": Field(_named(_made(Task, TASK), _label, most=64)),
    "also": Field(_each(_text, least=0, most=10**6), required=False),
    "simulator": Field(partial(check_int, least=0, most=10**6), required=False),
}
FILE = {
    "bytes": Field(partial(check_int, least=8, most=MAX_FILE_BYTES)),
    "sha256": Field(_matches("[0-9a-f]{64}", "64 hexadecimal digits")),
}
KNOWN_FACTS: dict[str, Check] = {
    "license": _label,
    "prompt_encoder": _label,
    "preset": _label,
    "training_frames": partial(check_int, least=0),
    "corrected_episodes": partial(check_int, least=0),
    "heads_on_held_out_real_frames": _named(_number_or_nothing, _label, most=4096),
    "scores": _scores,
}
CONFIG_FIELDS = {
    "format": Field(partial(check_int, least=1, most=FORMAT)),
    "spec": Field(_made(WorldSpec, SPEC)),
    "model": Field(_made(StreamDiTConfig, MODEL)),
    "codec": Field(_made(ConvCodecConfig, CODEC)),
    "heads": Field(_made(ReadoutConfig, HEADS)),
    "phrases": Field(_distinct(_each(_text, least=1, most=4096))),
    "facts": Field(check_facts),
    "files": Field(_named(_made(FileEntry, FILE), _label, most=64)),
    "longer": Field(_made(StreamDiTConfig, MODEL), required=False),
    "digest": Field(FILE["sha256"].check, required=False),
}
