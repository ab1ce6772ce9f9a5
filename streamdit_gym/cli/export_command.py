"""The command ``export``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import WorldName
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.world_argument import bundle_of


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Write a world for other runtimes: a page that plays it in any browser, or ONNX networks."""

    setting_types: ClassVar[Mapping[str, Any]] = {
        "to": Literal["web", "onnx"],
        "partition": Literal["reactive", "pipelined"],
        "prompts": str,
        "runtime": str,
    }

    world: WorldName
    """name, folder or Hub id; or a Python file that registers the world"""
    out: Path
    """an empty or new folder"""
    set: Settings = ()
    """to=web: a page for any static server; onnx: networks and description alone, with the encoder
    partition=reactive: how to stream; or pipelined
    prompts: text file with phrases of your own, one a line, beside those of the menu
    runtime: folder of onnxruntime-web's files; default: downloaded once from the npm registry
    """

    def run(self) -> None:
        """Export the world."""
        from streamdit_gym.export.export_world import export_world, read_phrases
        from streamdit_gym.world import World

        settings = {"to": "web", **self.settings()}
        runtime = settings.pop("runtime", None)
        prompts = settings.pop("prompts", None)
        phrases = [] if prompts is None else read_phrases(Path(prompts))
        world = World.from_pretrained(bundle_of(self.world))
        difference = export_world(
            world,
            self.out,
            prompts=phrases,
            runtime=None if runtime is None else Path(runtime),
            **settings,
        )
        print(
            f"{self.out}: at most {difference} of 255 grey levels from the engine, over 64 frames"
        )
        if settings["to"] == "web":
            print(f"  python -m http.server -d {self.out}    # then open http://localhost:8000")
