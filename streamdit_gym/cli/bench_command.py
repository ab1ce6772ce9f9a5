"""The command ``bench``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.command_outputs import write_json
from streamdit_gym.cli.option_types import Count, CountOrZero, DeviceName, Range, WorldName
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.training_options import choose_device
from streamdit_gym.cli.world_argument import bundle_of


@dataclass(frozen=True, kw_only=True)
class Bench(Command):
    """Measure speed: environment steps, where the time goes, and the machine's own ceilings."""

    setting_types: ClassVar[Mapping[str, Any]] = {
        "steps": Count,
        "dtypes": tuple[Literal["float32", "bfloat16"], ...],
        "partitions": tuple[str, ...],
        "long_steps": CountOrZero,
        "compiled": bool,
        "preset": str,
        "windows": bool,
    }

    world: WorldName = "PushT"
    """world to step: name, folder or Hub id; or a Python file that registers it"""
    envs: tuple[Annotated[int, Range(1, 65_536)], ...] = (1, 16)
    """batch sizes"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    set: Settings = ()
    """steps=50: per batch size
    dtypes=float32: precisions of the transformer, such as float32,bfloat16
    partitions=reactive: ways to stream, such as reactive,pipelined
    long_steps=0: also step one environment so many times: does it slow down, does memory grow?
    compiled=false: compile what is measured, all but the long stream: a minute for every batch
    size, partition and precision
    preset=NAME: also time a preset with random weights, such as paper-4b, and say what memory its
    training takes
    windows=false: also time the paper's 16,384 tokens at a tenth of its width, with windows and
    without
    """
    out: Path | None = None
    """folder for bench.json and bench.png"""

    def run(self) -> None:
        """Measure speed."""
        from streamdit_gym.bench.bench_report import plot_report
        from streamdit_gym.bench.run_bench import BenchConfig, run_bench

        config = BenchConfig(
            world=bundle_of(self.world),
            envs=self.envs,
            device=choose_device(self.device),
            **self.settings(),
        )
        report = run_bench(config)
        if self.out is not None:
            write_json(self.out / "bench.json", report.to_json())
            plot_report(report, self.out / "bench.png")
