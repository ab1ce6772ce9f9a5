"""A prompt table as a model uses it, prepared prompt by prompt as the table grows."""

from __future__ import annotations

import torch

from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.types import Conditioning, PreparedPrompts

# the axes that grow with more prompts, and with longer ones
GROWING_AXES = {"pooled": (0,), "mask": (0, 1), "keys": (1, 3), "values": (1, 3), "extra": (0,)}


class PreparedTable:
    """What a model prepares from a prompt table; every prompt is prepared once.

    Args:
        model: prepares the prompts.
        table: the prompts.
        compiled: whether compiled code uses the result; then more prompts, and longer ones, are no
            reason to compile again.
    """

    def __init__(self, model: StreamDiT, table: PromptTable, *, compiled: bool) -> None:
        self.model = model
        self.table = table
        self._compiled = compiled
        self._prepared: PreparedPrompts | None = None

    def current(self) -> PreparedPrompts:
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


def _mark_growing(prepared: PreparedPrompts) -> None:
    for name, axes in GROWING_AXES.items():
        for axis in axes:
            torch._dynamo.maybe_mark_dynamic(getattr(prepared, name), axis)
