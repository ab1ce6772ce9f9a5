"""In which numbers networks are evaluated.

Takes: a device and a choice.  Gives: a context to evaluate in.  Knows nothing of: which network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def precision(device: torch.device, bfloat16: bool) -> Iterator[None]:
    """Evaluate in bfloat16, or in float32 all through.

    A GPU's convolutions round float32 to TF32 unless told otherwise, and then what a row becomes hangs on the batch it is in.
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
