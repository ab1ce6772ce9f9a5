"""The precision in which networks are evaluated and trained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

TRIAL_SIZE = 768  # rows of the matrices that are multiplied to compare precisions
TRIALS = 8


@contextmanager
def precision(device: torch.device, bfloat16: bool) -> Iterator[None]:
    """Evaluate in bfloat16, or in float32 throughout.

    By default a GPU's convolutions round float32 to TF32, and then the numbers of a row depend on
    the batch that it is in.
    """
    if bfloat16 or device.type != "cuda":
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            yield
        return
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


def training_precision(device: str) -> torch.autocast:
    """Return a context for training: bfloat16 where that multiplies matrices faster."""
    kind = torch.device(device)
    return torch.autocast(kind.type, torch.bfloat16, enabled=learns_in_bfloat16(kind))


def learns_in_bfloat16(device: torch.device) -> bool:
    """Return whether training uses bfloat16: on every GPU, and on CPUs with units for it."""
    return device.type != "cpu" or cpu_prefers_bfloat16()


@cache
def cpu_prefers_bfloat16() -> bool:
    """Return whether this machine multiplies matrices faster in bfloat16 than in float32.

    With units for it, it is faster by far; without, it is slower.
    """
    return _seconds(torch.bfloat16) < _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """Return the shortest time that a multiplication takes."""
    matrix = torch.ones(TRIAL_SIZE, TRIAL_SIZE, dtype=dtype)
    times = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    return min(times)
