"""A clock that leaves the warm-up out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float


def call_seconds(
    call: Callable[[], Any], *, times: int, warm_up: int, device: str
) -> Float[np.ndarray, " times"]:
    """Return the seconds of each of `times` calls, after `warm_up` calls that do not count."""
    seconds = []
    for number in range(warm_up + times):
        start = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if number >= warm_up:
            seconds.append(time.perf_counter() - start)
    return np.array(seconds)


def median_ms(call: Callable[[], Any], *, times: int, warm_up: int, device: str) -> float:
    """Return the median milliseconds of a call."""
    seconds = call_seconds(call, times=times, warm_up=warm_up, device=device)
    return float(1e3 * np.median(seconds))
