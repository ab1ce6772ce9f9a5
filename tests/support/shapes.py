"""A pytest plugin that checks the shapes and types of every call in `model` and `stream`.

Use it as ``pytest -p support.shapes``: the hook must be there before the modules are imported.
"""

from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook(
    ["streamdit_gym.types", "streamdit_gym.model", "streamdit_gym.stream"], "beartype.beartype"
)
