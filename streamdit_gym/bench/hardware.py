"""The machine: its name, what it can do at best, and how much memory is in use."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from streamdit_gym.bench.timing import call_seconds

CUDA_MATRIX_SIDE = 8192
CPU_MATRIX_SIDE = 1024
COPIED_BYTES = 64 * 2**20
BEST_QUANTILE = 0.1  # of the calls' times: what the machine does where nothing disturbs it


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """What the machine can do at best.

    Attributes:
        matmul_gflops: GFLOP/s of square matrix products.
        copy_gb_s: GB/s of copying memory, read and write counted.
    """

    matmul_gflops: float
    copy_gb_s: float


def hardware_name(device: str) -> str:
    """Return the name of the processor or the card."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {_processor_name()}"


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def measure_ceilings(device: str, dtype: str) -> Ceilings:
    """Multiply square matrices and copy memory, as fast as the machine can."""
    side = CUDA_MATRIX_SIDE if device.startswith("cuda") else CPU_MATRIX_SIDE
    left = torch.randn(side, side, device=device, dtype=getattr(torch, dtype))
    right = torch.randn(side, side, device=device, dtype=getattr(torch, dtype))
    products = call_seconds(lambda: left @ right, times=20, warm_up=3, device=device)
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copies = call_seconds(lambda: target.copy_(source), times=10, warm_up=2, device=device)
    return Ceilings(
        matmul_gflops=float(2e-9 * side**3 / np.quantile(products, BEST_QUANTILE)),
        copy_gb_s=float(2e-9 * source.numel() / np.quantile(copies, BEST_QUANTILE)),
    )


def memory_mib(device: str) -> float:
    """Return the memory in use, of the card or resident in this process; NaN where unknown."""
    if device.startswith("cuda"):
        return torch.cuda.memory_allocated(device) / 2**20
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return math.nan
    resident_pages = int(statm.read_text().split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 2**20
