"""The names of the transformer's tensors on disk, which are older than those in the code.

Weights files and training checkpoints have the old names: `StreamDiT.state_dict` writes them and
`load_state_dict` reads both.
"""

from __future__ import annotations

from typing import Any

STORED_NAMES = {
    "pos_embed": "place",
    "mlp_in": "widen",
    "mlp_out": "narrow",
    "conv_refiner": "refine",
    "skip_gain": "carry",
    "global_predictor": "looks",
}
NAMES = {stored: name for name, stored in STORED_NAMES.items()}


def store_names(module: Any, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Rename the tensors of a state to their names on disk, in place (a hook of `state_dict`)."""
    _rename(state, prefix, STORED_NAMES)


def restore_names(module: Any, state: dict[str, Any], prefix: str, *others: Any) -> None:
    """Rename the tensors of a state to their names here (a hook of `load_state_dict`)."""
    _rename(state, prefix, NAMES)


def _rename(state: dict[str, Any], prefix: str, names: dict[str, str]) -> None:
    tensors = list(state.items())
    state.clear()  # to keep the order
    for key, value in tensors:
        if key.startswith(prefix):
            parts = key.removeprefix(prefix).split(".")
            renamed = [names.get(part, part) for part in parts]
            key = prefix + ".".join(renamed)
        state[key] = value
