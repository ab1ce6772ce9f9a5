"""Prompts as a model uses them: those of a table once each, those of a box at every evaluation."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from streamdit_gym.stream.model_protocol import StreamModel
from streamdit_gym.text.prompt_protocol import PromptSource
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.types import Conditioning, PreparedPrompts

# the axes that grow with more prompts, and with longer ones
GROWING_AXES = {"pooled": (0,), "mask": (0, 1), "keys": (1, 3), "values": (1, 3), "extra": (0,)}


@runtime_checkable
class PreparedSource(Protocol):
    """Prepares the prompts of one source for one model."""

    def of(self, prompts: Conditioning) -> PreparedPrompts:
        """Return what the model prepares of prompts that the source has returned."""


class PreparedValues:
    """Prepares every frame's prompt anew, for prompts that hardly ever come twice.

    Args:
        model: prepares the prompts.
    """

    def __init__(self, model: StreamModel) -> None:
        self.model = model

    def of(self, prompts: Conditioning) -> PreparedPrompts:
        """Return what the model prepares of some prompts."""
        return self.model.prepare(prompts)


class PreparedTable:
    """What a model prepares from a prompt table; every prompt is prepared once.

    Args:
        model: prepares the prompts.
        table: the prompts.
        compiled: whether compiled code uses the result; then more prompts, and longer ones, are no
            reason to compile again.
    """

    def __init__(self, model: StreamModel, table: PromptTable, *, compiled: bool) -> None:
        self.model = model
        self.table = table
        self._compiled = compiled
        self._prepared: PreparedPrompts | None = None

    def of(self, prompts: Conditioning) -> PreparedPrompts:
        """Return the prepared table, with the prompts that came since the last call."""
        prepared = self._prepared
        count = 0 if prepared is None else len(prepared.pooled) - 1  # without row 0
        if prepared is None or count < len(self.table.phrases):
            prompts = self._prompts_from(count)
            fresh = self.model.prepare(prompts)
            prepared = fresh if prepared is None else prepared.join(fresh)
            if self._compiled:
                _mark_growing(prepared)
            self._prepared = prepared
        return prepared

    def _prompts_from(self, row: int) -> Conditioning:
        table = self.table
        return Conditioning(
            tokens=table.tokens[row:],
            mask=table.mask[row:],
            pooled=table.pooled[row:],
            index=torch.empty(0, 0, dtype=torch.long),
        )


def prepared_source(model: StreamModel, source: PromptSource, *, compiled: bool) -> PreparedSource:
    """Return what prepares a source's prompts for a model; see `PreparedTable`."""
    if isinstance(source, PromptTable):
        return PreparedTable(model, source, compiled=compiled)
    return PreparedValues(model)


def _mark_growing(prepared: PreparedPrompts) -> None:
    for name, axes in GROWING_AXES.items():
        for axis in axes:
            torch._dynamo.maybe_mark_dynamic(getattr(prepared, name), axis)
