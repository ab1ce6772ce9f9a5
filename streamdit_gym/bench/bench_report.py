"""What the bench measured, as text for people and as a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streamdit_gym.bench.env_speed import BatchSpeed, LongStream
from streamdit_gym.bench.hardware import Ceilings
from streamdit_gym.bench.preset_memory import MemoryPlan
from streamdit_gym.bench.preset_speed import PresetSpeed
from streamdit_gym.bench.step_parts import PARTS, StepParts
from streamdit_gym.bench.window_cost import WindowCost
from streamdit_gym.errors import require
from streamdit_gym.files import atomic_write


@dataclass(kw_only=True)
class BenchReport:
    """All that was measured.

    Attributes:
        hardware: name of the machine.
        torch: its version.
        world: what was stepped.
        partitions: how it streamed, in full.
        ceilings: what the machine can do at best, by precision.
        steps: speed of every batch size, partition and precision.
        parts: where the time goes, at the largest batch size.
        long: of the long stream; None: not measured.
        preset: of a preset with random weights; None: not measured.
        memory: what training that preset takes; None: not asked for.
        windows: what attention windows save; None: not measured.
    """

    hardware: str
    torch: str
    world: str
    partitions: list[str]
    ceilings: dict[str, Ceilings] = field(default_factory=dict)
    steps: list[BatchSpeed] = field(default_factory=list)
    parts: list[StepParts] = field(default_factory=list)
    long: LongStream | None = None
    preset: PresetSpeed | None = None
    memory: MemoryPlan | None = None
    windows: WindowCost | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what was not measured is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def ceilings_line(dtype: str, ceilings: Ceilings) -> str:
    """Say what the machine can do at best."""
    return (
        f"ceilings: {ceilings.matmul_gflops:.0f} GFLOP/s of {dtype} matrix products, "
        f"{ceilings.copy_gb_s:.1f} GB/s of copying"
    )


def steps_line(speed: BatchSpeed) -> str:
    """Say how fast a batch of environments is."""
    compiled = ", compiled" if speed.compiled else ""
    return (
        f"{speed.envs:5d} envs   {speed.steps_per_s:9.1f} env steps/s   "
        f"step p50 {speed.p50_ms:.1f} ms, p95 {speed.p95_ms:.1f} ms   "
        f"{speed.state_kib_per_env:.0f} KiB of state each   "
        f"{speed.partition}, {speed.dtype}{compiled}"
    )


def parts_line(parts: StepParts) -> str:
    """Say where the time goes."""
    times = "  ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in parts.parts_ms.items())
    return (
        f"{parts.envs:5d} envs, ms: {times}; "
        f"denoising reaches {parts.share_of_matmul_ceiling:.0%} of the ceiling   "
        f"{parts.partition}, {parts.dtype}"
    )


def long_stream_line(long: LongStream) -> str:
    """Say whether a long stream slows down or leaks."""
    return (
        f"{long.steps} steps: {long.last_ms:.2f} ms at last, beside it a young stream "
        f"{long.first_ms:.2f} ms ({long.last_over_first:.3f}), "
        f"memory {long.memory_growth_mib:+.1f} MiB"
    )


def preset_line(preset: PresetSpeed) -> str:
    """Say how fast a preset is."""
    height, width = preset.frame_size
    return (
        f"{preset.name}: {preset.parameters / 1e9:.2f} billion weights (random), "
        f"one move {preset.move_ms:.0f} ms, decoding {preset.frames_per_move} frames of "
        f"{height} x {width} {preset.decode_ms:.1f} ms: {preset.frames_per_s:.1f} frames/s"
    )


def plot_report(report: BenchReport, path: Path) -> None:
    """Draw steps per second against the batch size, and where the time goes."""
    figure_class = require("matplotlib.figure", "demo", "a plot").Figure
    figure = figure_class(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_steps(left, report)
    _plot_parts(right, report.parts)
    with atomic_write(path) as part:
        figure.savefig(part, dpi=120)


def _plot_steps(axes: Any, report: BenchReport) -> None:
    """Draw a line for each partition and precision."""
    kinds = sorted({(speed.partition, speed.dtype) for speed in report.steps})
    for partition, dtype in kinds:
        speeds = [
            speed for speed in report.steps if speed.partition == partition and speed.dtype == dtype
        ]
        axes.plot(
            [speed.envs for speed in speeds],
            [speed.steps_per_s for speed in speeds],
            marker="o",
            label=f"{partition}, {dtype}",
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="environments in one batch",
        ylabel="env steps/s",
        title=report.hardware,
    )
    axes.title.set_fontsize(8)
    axes.legend()


def _plot_parts(axes: Any, measured: list[StepParts]) -> None:
    """Draw a stacked bar for each partition and precision."""
    labels = [f"{parts.partition}\n{parts.dtype}" for parts in measured]
    bottom = np.zeros(len(measured))
    for name in PARTS:
        heights = np.array([parts.parts_ms[name] / parts.envs for parts in measured])
        axes.bar(labels, heights, bottom=bottom, label=name)
        bottom += heights
    axes.set(
        ylabel="ms per env step",
        title=f"where the time goes, {measured[0].envs} environments",
    )
    axes.title.set_fontsize(8)
    axes.legend()
