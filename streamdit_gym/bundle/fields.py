"""The fields of a bundle's ``config.json``, and the check of each.

The bounds leave room for the preset ``paper-4b``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from streamdit_gym.bundle.field_checks import (
    Check,
    Field,
    check_dictionary,
    distinct,
    each,
    label,
    mapping,
    matches,
    number_or_null,
    refused,
    text,
    typed,
)
from streamdit_gym.bundle.networks import (
    check_codec,
    check_model,
    check_readout,
    check_transition_readout,
)
from streamdit_gym.bundle.spec_fields import check_spec
from streamdit_gym.checks import check_int, check_str

FORMAT = 1
MAX_FILE_BYTES = 2**40
MAX_FACTS_DEPTH = 32


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """What ``config.json`` says of another file."""

    bytes: int
    sha256: str


def _scores(name: str, value: Any) -> None:
    scores = check_dictionary(name, value)
    criteria = scores.get("criteria", [])
    if not isinstance(criteria, list) or not all(isinstance(item, dict) for item in criteria):
        raise refused(f"{name}.criteria", criteria, "a list of objects")


def _check_json(name: str, value: Any, depth: int) -> None:
    """Refuse texts that cannot be written, and nesting so deep that writing would fail."""
    if isinstance(value, str):
        check_str(name, value)
    if not isinstance(value, (dict, list)):
        return
    if not depth:
        raise refused(name, value, f"values nested up to {MAX_FACTS_DEPTH} deep")
    items: Iterable[Any] = value
    if isinstance(value, dict):
        for key in value:
            check_str(f"a name in {name}", key)
        items = value.values()
    for item in items:
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
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


FILE = {
    "bytes": Field(partial(check_int, least=8, most=MAX_FILE_BYTES)),
    "sha256": Field(matches("[0-9a-f]{64}", "64 hexadecimal digits")),
}
KNOWN_FACTS: dict[str, Check] = {
    "license": label,
    "prompt_encoder": label,
    "preset": label,
    "training_frames": partial(check_int, least=0),
    "corrected_episodes": partial(check_int, least=0),
    "heads_on_held_out_real_frames": mapping(number_or_null, label, most=4096),
    "transitions_on_held_out_real_frames": mapping(number_or_null, label, most=4096),
    "scores": _scores,
}
CONFIG_FIELDS = {
    "format": Field(partial(check_int, least=1, most=FORMAT)),
    "spec": Field(check_spec),
    "model": Field(check_model),
    "codec": Field(check_codec),
    "heads": Field(check_readout),
    "phrases": Field(distinct(each(text, least=1, most=4096))),
    "facts": Field(check_facts),
    "files": Field(mapping(typed(FileEntry, FILE), label, most=64)),
    "longer": Field(check_model, required=False),
    "transitions": Field(check_transition_readout, required=False),
    "digest": Field(FILE["sha256"].check, required=False),
}
