"""The state of a live stream, kept in memory to return to a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from streamdit_gym.stream.partition import Partition
from streamdit_gym.text.prompt_table import PromptTable

PromptScope = Literal["chunk", "buffer"]


@dataclass(frozen=True, kw_only=True)
class LiveStreamState:
    """All that a stream needs to return to a moment.

    Attributes:
        session: state of the engine's session.
        table: the prompts that the session's rows refer to.
        partition: how the buffer is cut.
        prompt_scope: which chunks a new prompt steers.
        transition: chunks over which a new prompt replaces the old one.
        prompt: the newest prompt.
        previous_prompt: the one before it.
        chunks_since_prompt: chunks that started since the prompt changed.
        frame_count: frames generated so far.
        simulator: state of the reference simulator; None if it does not show this episode.
    """

    session: dict[str, Any]
    table: PromptTable
    partition: Partition
    prompt_scope: PromptScope
    transition: int
    prompt: str
    previous_prompt: str
    chunks_since_prompt: int
    frame_count: int
    simulator: Any

    @property
    def num_bytes(self) -> int:
        """Memory of the session's tensors; the table is shared with the stream."""
        return tensor_bytes(self.session)


def tensor_bytes(value: Any) -> int:
    """Return the memory of the tensors and arrays in dictionaries, lists and tuples."""
    if isinstance(value, (Tensor, np.ndarray)):
        return int(value.nbytes)
    if isinstance(value, dict):
        return tensor_bytes(list(value.values()))
    if isinstance(value, (list, tuple)):
        return sum(tensor_bytes(part) for part in value)
    return 0
