"""The command ``bench``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.command_outputs import write_json
from streamdit_gym.cli.option_types import (
    Count,
    CountOrZero,
    DeviceName,
    Range,
    WorldName,
)
from streamdit_gym.cli.training_options import (
    choose_device,
)


@dataclass(frozen=True, kw_only=True)
class Bench(Command):
    """Measure speed: environment steps, where the time goes, and the machine's own ceilings."""

    world: WorldName = "PushT"
    """world to step"""
    envs: tuple[Annotated[int, Range(1, 65_536)], ...] = (1, 16)
    """batch sizes"""
    steps: Count = 50
    """steps per batch size"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    dtype: tuple[Literal["float32", "bfloat16"], ...] = ("float32",)
    """precisions of the transformer"""
    partition: tuple[str, ...] = ("reactive",)
    """ways to stream"""
    compile: bool = False
    """compile what is measured, all but the long stream: a minute for every batch size, partition
    and precision
    """
    long: CountOrZero = 0
    """also step one environment so many times: does it slow down, does memory grow?"""
    preset: str | None = None
    """also time a preset with random weights, e.g. paper-4b"""
    out: Path | None = None
    """folder for bench.json and bench.png"""

    def run(self) -> None:
        """Measure speed."""
        from streamdit_gym.bench.bench_report import plot_report
        from streamdit_gym.bench.run_bench import BenchConfig, run_bench

        config = BenchConfig(
            world=self.world,
            envs=self.envs,
            steps=self.steps,
            device=choose_device(self.device),
            dtypes=self.dtype,
            partitions=self.partition,
            preset=self.preset,
            long_steps=self.long,
            compiled=self.compile,
        )
        report = run_bench(config)
        if self.out is not None:
            write_json(self.out / "bench.json", report.to_json())
            plot_report(report, self.out / "bench.png")
