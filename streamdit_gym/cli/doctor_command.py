"""The command ``doctor``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import tyro

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.open_options import Pixels, checked_size
from streamdit_gym.cli.settings_option import Settings


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Say what this machine can run, and what an open video model needs."""

    setting_types: ClassVar[Mapping[str, Any]] = {"frame_size": tuple[Pixels, ...]}

    model: Annotated[str | None, tyro.conf.Positional] = None
    """wan:FOLDER or wan:HUB-ID, in diffusers' layout; default: the machine alone"""
    set: Settings = ()
    """frame_size=480,832: height and width of the frames"""

    def run(self) -> None:
        """Print the machine, and the model beside it."""
        import torch

        from streamdit_gym.bench.hardware import hardware_name
        from streamdit_gym.device import default_device
        from streamdit_gym.open_weights.load_open_model import DEFAULTS, free_memory
        from streamdit_gym.open_weights.wan_folder import GIB, find_wan_folder, needs_of
        from streamdit_gym.stream.partition import Partition

        device = default_device()
        free = free_memory(device)
        host_free = free_memory("cpu")
        print(f"torch {torch.__version__}; device {device}: {hardware_name(device)}")
        print(f"free: {free / GIB:.1f} GiB on {device}, {host_free / GIB:.1f} GiB for the CPU")
        if self.model is None:
            return
        height, width = checked_size(self.settings().get("frame_size", (480, 832)))
        folder = find_wan_folder(self.model)
        partition = Partition.parse(DEFAULTS[folder.kinds["transformer"]][0])
        latents = partition.references + partition.frames
        print(f"{folder.path}: {folder.kinds['transformer']}, streamed as {partition}")
        for dtype in ("bfloat16", "float32"):
            needs = needs_of(folder, (height, width), latents, dtype)
            fits = needs.fit(device, free, host_free)
            print(
                f"{height} x {width}, {dtype}: about"
                f" {needs.device_bytes / GIB:.1f} GiB on the device ({needs.tokens} tokens),"
                f" {needs.host_bytes / GIB:.1f} GiB for the text encoder on the CPU:"
                f" {'fits' if fits else 'does not fit'}"
            )
