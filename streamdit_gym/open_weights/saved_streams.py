"""Checks of saved streams of an open model, before anything is taken from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from streamdit_gym.checks import check_int, check_str, shown
from streamdit_gym.errors import ArgumentError, ShapeError
from streamdit_gym.open_weights.wan_codec import DecoderMemory
from streamdit_gym.stream.saved import REMEDY, check_keys, check_list, check_tensor
from streamdit_gym.stream.session import PROMPT_ENTRIES, Session

ENTRIES = ("session", "decoder", "texts")
MAX_ROW = 2**62  # far beyond any number of sentences


def check_saved_streams(saved: Any, session: Session, memory: DecoderMemory) -> dict[int, str]:
    """Return the sentences of saved streams by their rows; nothing changes.

    Streams whose numbers are not finite are no error: they are told by `OpenStreams.finite`.

    Args:
        saved: what `OpenStreams.save` returned.
        session: of as many streams of the same model.
        memory: of the same decoder.

    Raises:
        ShapeError: if an entry is missing, or has another type, shape or dtype.
        ArgumentError: if a sentence cannot be used, or a prompt has none.
    """
    check_keys("streams", saved, ENTRIES)
    anything = np.zeros(len(session), dtype=bool)
    session.check_state_dict(saved["session"], finite=anything)
    _check_memory(saved["decoder"], memory, anything)
    texts = _checked_texts(saved["texts"])
    for name in PROMPT_ENTRIES:
        rows = saved["session"][name]
        unknown = sorted({int(row) for row in rows.unique() if row >= 0} - set(texts))
        if unknown:
            raise ArgumentError(
                "prompts of a saved state have no text",
                given=f"{name}: rows {shown(unknown)}",
                allowed=f"rows {shown(sorted(texts))}",
                remedy=REMEDY,
            )
    return texts


def _check_memory(saved: Any, memory: DecoderMemory, anything: np.ndarray) -> None:
    parts = check_list("decoder", saved, len(memory.features))
    for number, (part, own) in enumerate(zip(parts, memory.features, strict=True)):
        name = f"decoder {number}"
        if isinstance(own, Tensor):
            check_tensor(name, part, own, finite=anything)
        elif isinstance(part, Tensor) or type(part) is not type(own) or part != own:
            given = str(part.dtype) if isinstance(part, Tensor) else shown(part)
            raise ShapeError(
                f"{name} of a saved state does not fit",
                given=given,
                allowed=shown(own),
                remedy=REMEDY,
            )


def _checked_texts(texts: Any) -> dict[int, str]:
    if not isinstance(texts, dict):
        raise ShapeError(
            "texts of a saved state cannot be used",
            given=f"{type(texts).__name__} {shown(texts)}",
            allowed="a dictionary from rows to sentences",
            remedy=REMEDY,
        )
    checked = {}
    for row, text in texts.items():
        number = check_int("a row of a saved state", row, least=0, most=MAX_ROW)
        checked[number] = check_str("a sentence", text)
    return checked
