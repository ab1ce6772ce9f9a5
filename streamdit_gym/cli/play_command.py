"""The command ``play``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import (
    CountOrZero,
    DeviceName,
    Range,
    Seed,
    WorldName,
)
from streamdit_gym.cli.training_options import (
    choose_device,
)


@dataclass(frozen=True, kw_only=True)
class Play(Command):
    """Watch a world as an endless stream and steer it by text: on a page, in a window,
    or into a film.
    """

    world: WorldName
    """shipped name, folder or Hub id"""
    partition: str = "reactive"
    """how to stream; can be changed on the page"""
    scope: Literal["chunk", "buffer"] = "chunk"
    """what a new prompt steers: new chunks only, or, as in the paper, all that is in the buffer"""
    transition: CountOrZero = 0
    """chunks over which a new prompt replaces the old one"""
    fps: Annotated[float, Range(0.01, 1000.0)] | None = None
    """frames per second; default: the world's own"""
    seed: Seed = 0
    """of start and noise"""
    twin: bool = True
    """the real simulator beside it, where there is one"""
    window: bool = False
    """an OpenCV window instead of the page"""
    script: str | None = None
    """prompts on a timeline: a file of lines {"at": SECONDS, "say": "..."};
    or - for lines from standard input, each a prompt at once
    """
    film: Path | None = None
    """write a film of the script instead of showing it"""
    seconds: Annotated[float, Range(0.01, 1e6)] | None = None
    """length of the film in the stream's own time, as in the script; default:
    five seconds beyond its last line
    """
    host: str = "127.0.0.1"
    """address to serve; any but this machine's own makes a token that visitors need"""
    port: Annotated[int, Range(0, 65_535)] = 8000
    """port to serve; 0: any free one"""
    root_path: str = ""
    """path under which a reverse proxy shows the page, such as /lab"""
    allow_host: tuple[str, ...] = ()
    """names under which a reverse proxy shows the page, such as lab.example; they make a token,
    too
    """
    browser: bool = True
    """open the page"""
    out: Path = Path("runs/play")
    """folder of films recorded on the page"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """of the model"""
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""

    def run(self) -> None:
        """Show a stream."""
        from streamdit_gym.live.play import play
        from streamdit_gym.world import World

        world = World.from_pretrained(self.world, device=choose_device(self.device))
        play(
            world,
            twin=self.twin,
            fps=self.fps,
            window=self.window,
            script=self.script,
            film=self.film,
            seconds=self.seconds,
            host=self.host,
            port=self.port,
            browser=self.browser,
            out=self.out,
            partition=self.partition,
            scope=self.scope,
            transition=self.transition,
            seed=self.seed,
            autocast=self.dtype == "bfloat16",
            root_path=self.root_path,
            allow_hosts=self.allow_host,
        )
