"""What memory the training of a preset takes, from sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from streamdit_gym.bench.preset_speed import PAPER_PARTITION
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig

# of a weight, in float32: itself, its gradient, AdamW's two averages, the average of the weights
STATE_BYTES = 4 * 5
# Numbers that autograd keeps of a token in a block: for each of its width, and beside these.
# Counted with saved_tensors_hooks (tests/test_speed.py).
KEPT_PER_WIDTH = 25
KEPT_BESIDE = 550
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The memory of a training of one clip at once, in bytes.

    Attributes:
        parameters: how many.
        tokens: of a clip.
        state_bytes: weights, gradients, optimizer and average.
        block_bytes: activations of a block.
        depth: blocks, all of whose activations are kept.
    """

    parameters: int
    tokens: int
    state_bytes: int
    block_bytes: int
    depth: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.state_bytes + self.depth * self.block_bytes

    def line(self) -> str:
        """Return the plan for people."""
        return (
            f"training: {self.parameters / 1e9:.2f} billion weights x {STATE_BYTES} bytes ="
            f" {self.state_bytes / GIB:.1f} GiB; {self.tokens:,} tokens of a clip:"
            f" {self.depth} blocks x {self.block_bytes / GIB:.1f} GiB of activations in float32;"
            f" {self.total_bytes / GIB:.0f} GiB in all (an estimate)"
        )


def plan_memory(
    config: StreamDiTConfig, frames: int = PAPER_PARTITION.frames, bytes_each: int = 4
) -> MemoryPlan:
    """Return what memory the training of a transformer takes.

    Args:
        config: of the transformer.
        frames: of a clip.
        bytes_each: of an activation; 4 is float32.
    """
    with torch.device("meta"):
        model = StreamDiT(config)
    parameters = sum(weight.numel() for weight in model.parameters())
    tokens = frames * config.num_tokens
    return MemoryPlan(
        parameters=parameters,
        tokens=tokens,
        state_bytes=STATE_BYTES * parameters,
        block_bytes=tokens * (KEPT_PER_WIDTH * config.width + KEPT_BESIDE) * bytes_each,
        depth=config.depth,
    )
