"""A world's phrases in ``config.json``: named by their generator, not listed.

A stored spec has ``"phrases": {"generator": ..., "version": ...}``, and lists only the phrases
whose embeddings the bundle carries. Without that entry, as in older bundles, it lists them all
(docs/decisions/0014).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from streamdit_gym.bundle.field_checks import Field, check_object, label
from streamdit_gym.checks import check_int
from streamdit_gym.phrase_generators import find_generator

KEY = "phrases"
GENERATOR_FIELDS = {
    "generator": Field(label),
    "version": Field(partial(check_int, least=0, most=10**6)),
}


def is_generated(content: Mapping[str, Any]) -> bool:
    """Return whether the content of a ``config.json`` names a generator of its phrases."""
    spec = content.get("spec")
    return isinstance(spec, dict) and KEY in spec


def with_generator(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return content that names the generator of its phrases, if there is one for just these."""
    spec = content["spec"]
    generator = find_generator(spec["name"])
    if generator is None or is_generated(content):
        return dict(content)
    phrases = generator.phrases()
    listed = {"menu": [list(row) for row in spec["menu"]], "also": list(spec.get("also", []))}
    if listed != phrases:
        return dict(content)
    carried = set(content["phrases"])
    compact = {key: value for key, value in spec.items() if key not in phrases}
    compact["menu"] = [[text for text in row if text in carried] for row in phrases["menu"]]
    compact[KEY] = {"generator": spec["name"], "version": generator.version}
    return {**content, "spec": compact}


def with_all_phrases(content: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return content that lists its phrases, and whether these are all.

    Where the generator is not known here, or has another version, only those stay that the bundle
    carries.

    Raises:
        ArgumentError, BundleError: if the generator's entry cannot be used.
    """
    if not is_generated(content):
        return dict(content), True
    spec = dict(content["spec"])
    entry = check_object(f"spec.{KEY}", spec.pop(KEY), GENERATOR_FIELDS)
    generator = find_generator(entry["generator"])
    is_known = generator is not None and generator.version == entry["version"]
    if generator is not None and is_known:
        spec |= generator.phrases()
    return {**content, "spec": spec}, is_known
