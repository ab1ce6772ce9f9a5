"""In which numbers networks are evaluated, and trained.

Takes: a device and a choice.  Gives: a context to evaluate in.  Knows nothing of: which network.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


@contextmanager
def precision(device: torch.device, bfloat16: bool) -> Iterator[None]:
    """Evaluate in bfloat16, or in float32 all through.

    A GPU's convolutions round float32 to TF32 unless told otherwise, and then what a row becomes
    hangs on the batch it is in.
    """
    if bfloat16 or device.type != "cuda":
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            yield
        return
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before, convolutions.fp32_precision = convolutions.fp32_precision, "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


def training_precision(device: str) -> torch.autocast:
    """Evaluate to learn from it, in bfloat16 where matrices are multiplied faster in it."""
    kind = torch.device(device)
    return torch.autocast(kind.type, torch.bfloat16, enabled=learns_in_bfloat16(kind))


def learns_in_bfloat16(device: torch.device) -> bool:
    """Return whether what learns multiplies in bfloat16: on every GPU,
    and on the CPUs that it is made for.
    """
    return device.type != "cpu" or cpu_prefers_bfloat16()


@cache
def cpu_prefers_bfloat16() -> bool:
    """Return whether this machine multiplies matrices faster in bfloat16: with units for it by far,
    without slower than in float32.
    """

    def seconds(dtype: torch.dtype) -> float:
        a = torch.ones(768, 768, dtype=dtype)
        times = []
        for _ in range(8):
            begun = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - begun)
        return min(times)

    return seconds(torch.bfloat16) < seconds(torch.float32)
