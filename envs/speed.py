"""How fast it runs, everything included.

Takes: a world or a preset.  Gives: steps per second, with the hardware named.  Knows nothing of: agents.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamdit_gym.buffer.partition import Partition
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.presets import preset as named_preset
from streamdit_gym.stream.views import stream_view
from streamdit_gym.vocabulary import Conditioning


def hardware(device: str) -> str:
    """Name the processor or the card."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        model = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), model)
    return f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {model}"


def timed(call: Callable[[], Any], times: int, warm: int, device: str) -> np.ndarray:
    """Return the seconds of each of `times` calls, after `warm` calls that do not count."""
    spent = []
    for i in range(warm + times):
        start = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if i >= warm:
            spent.append(time.perf_counter() - start)
    return np.array(spent)


def bench(world: str, envs: Sequence[int], steps: int, device: str, dtype: Any, partition: str, preset: str | None) -> dict[str, Any]:
    """Step a world at several batch sizes, and time one move of a preset's transformer; print and return the figures.

    A step is the whole of it: prompt, denoise, decode, reward, hand-over, and the resets of ended episodes.
    """
    print(f"hardware: {hardware(device)}; torch {torch.__version__}; {dtype}; partition {partition}")
    rows = []
    for count in envs:
        env = StreamDiTVectorEnv(count, world=world, device=device, dtype=dtype, partition=partition, task="reach")
        env.reset(seed=0)
        spent = timed(lambda env=env: env.step(env.action_space.sample()), steps, 5, device)
        env.close()
        rows.append({
            "envs": count, "steps_per_s": float(count * steps / spent.sum()),
            "p50_ms": float(1e3 * np.median(spent)), "p95_ms": float(1e3 * np.quantile(spent, 0.95)),
        })  # fmt: skip
        last = rows[-1]
        print(f"{count:5d} envs   {last['steps_per_s']:8.1f} env steps/s   step p50 {last['p50_ms']:.1f} ms, p95 {last['p95_ms']:.1f} ms")
    figures: dict[str, Any] = {"hardware": hardware(device), "dtype": dtype, "partition": partition, "worlds": rows}
    if preset is not None:
        figures["preset"] = bench_preset(preset, device, dtype)
    return figures


@torch.no_grad()
def bench_preset(name: str, device: str, dtype: Any, moves: int = 5) -> dict[str, Any]:
    """Time one move of a preset's moving buffer, as in the paper: 8 chunks of 2 latent frames, random weights.

    Raises:
        UnknownNameError: if there is no such preset.
    """
    config = named_preset(name).model
    kind = getattr(torch, dtype)
    with torch.device(device):
        torch.set_default_dtype(kind)
        try:
            model = StreamDiT(config).eval()
        finally:
            torch.set_default_dtype(torch.float32)
    cut = Partition(references=0, chunks=8, chunk_frames=2)
    shape = (1, cut.frames, config.channels, config.grid, config.grid)
    latents = torch.randn(shape, device=device, dtype=kind)
    times = torch.rand(1, cut.frames, device=device, dtype=kind)
    view = stream_view(latents[:, :0], times[:, :0], latents, times, causal=config.causal, chunk_frames=2, limit=max(1, config.references))
    prompts = Conditioning(
        tokens=torch.randn(1, 16, config.text_width, device=device, dtype=kind),
        mask=torch.ones(1, 16, dtype=torch.bool, device=device),
        pooled=torch.randn(1, config.text_width, device=device, dtype=kind),
        index=torch.zeros(1, cut.frames, dtype=torch.long, device=device),
    )
    spent = timed(lambda: model(view, prompts), moves, 1, device)
    count = sum(p.numel() for p in model.parameters())
    ms = float(1e3 * np.median(spent))
    print(f"{name}: {count / 1e9:.2f} billion weights (random), one move {ms:.0f} ms ({cut.chunk_frames} latent frames; transformer only)")
    return {"name": name, "parameters": count, "move_ms": ms, "frames": cut.frames}
