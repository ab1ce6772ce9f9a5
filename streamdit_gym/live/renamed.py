"""Names that this package used before; they work for one more release, with a warning."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar


def warn_renamed(old: str, new: str) -> None:
    """Warn that a name has changed; the warning points at the caller's caller."""
    warnings.warn(f"{old!r} is now called {new!r}", DeprecationWarning, stacklevel=3)


def rename_settings(settings: dict[str, Any], renamed: dict[str, str]) -> dict[str, Any]:
    """Return keyword arguments under their new names."""
    result = {}
    for name, value in settings.items():
        if name in renamed:
            warn_renamed(name, renamed[name])
        result[renamed.get(name, name)] = value
    return result


class RenamedAttributes:
    """Lets a class answer to the old names of its attributes and methods."""

    _renamed: ClassVar[dict[str, str]] = {}

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Return an attribute by its old name."""
            new = type(self)._renamed.get(name)
            if new is None:
                raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
            warn_renamed(name, new)
            return getattr(self, new)
