"""Generators of worlds' phrases, by name and version, so that bundles need not list them all.

A generator is a world's spec in its definition. It is imported when a bundle that names it is
loaded or saved.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PhraseGenerator:
    """Where a world's phrases come from.

    Attributes:
        version: raise it whenever the phrases change: bundles of another version then keep to the
            phrases that they list.
        location: ``"module:attribute"`` of an object with `menu` and `also`, as `WorldSpec` has
            them.
    """

    version: int
    location: str

    def phrases(self) -> dict[str, list[Any]]:
        """Return all phrases as a bundle's spec would list them."""
        module, attribute = self.location.split(":")
        spec = getattr(importlib.import_module(module), attribute)
        return {"menu": [list(phrases) for phrases in spec.menu], "also": list(spec.also)}


_GENERATORS: dict[str, PhraseGenerator] = {}


def register_phrases(name: str, *, version: int, location: str) -> None:
    """Make the phrases of a world known to bundles; see `PhraseGenerator`.

    Args:
        name: the world's name.
        version: the generator's version.
        location: ``"module:attribute"`` of the world's spec.
    """
    _GENERATORS[name] = PhraseGenerator(version=version, location=location)


def find_generator(name: str) -> PhraseGenerator | None:
    """Return the generator of a world's phrases; None if there is none."""
    return _GENERATORS.get(name)
