"""The whole bench: environments, parts of a step, a long stream, a preset."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from streamdit_gym.bench.bench_report import (
    BenchReport,
    ceilings_line,
    long_stream_line,
    parts_line,
    preset_line,
    steps_line,
)
from streamdit_gym.bench.env_speed import StepSettings, measure_long_stream, measure_steps
from streamdit_gym.bench.hardware import hardware_name, measure_ceilings
from streamdit_gym.bench.preset_memory import plan_memory
from streamdit_gym.bench.preset_speed import measure_preset
from streamdit_gym.bench.step_parts import measure_parts
from streamdit_gym.bench.window_cost import measure_windows
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.presets import partition_for
from streamdit_gym.presets import preset as named_preset


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure.

    Attributes:
        world: the world.
        envs: batch sizes; where the time goes is measured at the largest.
        device: where to run.
        steps: steps per measurement.
        dtypes: precisions of the transformer.
        partitions: how to stream.
        preset: also time this preset with random weights.
        long_steps: steps of the long stream; 0 for none.
        compiled: compile what is measured, all but the long stream and the windows.
        windows: also time the paper's token grid with windows and without.
    """

    world: str
    envs: tuple[int, ...]
    device: str
    steps: int = 50
    dtypes: tuple[str, ...] = ("float32",)
    partitions: tuple[str, ...] = ("reactive",)
    preset: str | None = None
    long_steps: int = 0
    compiled: bool = False
    windows: bool = False


def run_bench(config: BenchConfig) -> BenchReport:
    """Measure a world at every batch size, partition and precision; print and return the figures.

    Raises:
        UnknownNameError: if there is no such world or preset; nothing is measured then.
        PartitionError: if there is no such partition; nothing is measured then.
    """
    if config.preset is not None:
        named_preset(config.preset)
    world = shared_world(config.world, config.device)
    report = BenchReport(
        hardware=hardware_name(config.device),
        torch=torch.__version__,
        world=config.world,
        partitions=[str(partition_for(world, name)) for name in config.partitions],
    )
    print(f"hardware: {report.hardware}; torch {report.torch}")
    for dtype in config.dtypes:
        report.ceilings[dtype] = measure_ceilings(config.device, dtype)
        print(ceilings_line(dtype, report.ceilings[dtype]))
    _measure_envs(config, report)
    if config.long_steps:
        settings = _settings(config, 1, config.dtypes[0], config.partitions[0], compiled=False)
        report.long = measure_long_stream(settings, config.long_steps)
        print(long_stream_line(report.long))
    if config.preset is not None:
        report.preset = measure_preset(
            config.preset, config.device, config.dtypes[0], compiled=config.compiled
        )
        report.memory = plan_memory(named_preset(config.preset).model)
        print(preset_line(report.preset))
        print(report.memory.line())
    if config.windows:
        report.windows = measure_windows(config.device)
        print(report.windows.line())
    return report


def _measure_envs(config: BenchConfig, report: BenchReport) -> None:
    """Add the speed of environments, and where their time goes, to the report."""
    kinds = list(itertools.product(config.dtypes, config.partitions))
    for (dtype, partition), envs in itertools.product(kinds, config.envs):
        settings = _settings(config, envs, dtype, partition, compiled=config.compiled)
        report.steps.append(measure_steps(settings, config.steps))
        print(steps_line(report.steps[-1]))
    for dtype, partition in kinds:
        settings = _settings(config, max(config.envs), dtype, partition, compiled=config.compiled)
        parts = measure_parts(settings, config.steps, report.ceilings[dtype])
        report.parts.append(parts)
        print(parts_line(parts))


def _settings(
    config: BenchConfig, envs: int, dtype: str, partition: str, *, compiled: bool
) -> StepSettings:
    return StepSettings(
        world=config.world,
        envs=envs,
        device=config.device,
        dtype=dtype,
        partition=partition,
        compiled=compiled,
    )
