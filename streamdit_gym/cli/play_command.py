"""The command ``play``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.open_options import (
    OPEN_SETTINGS,
    is_open_model,
    open_settings,
    refuse_settings,
)
from streamdit_gym.cli.option_types import DeviceName, Range, Seed, WorldName
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.training_options import choose_device
from streamdit_gym.cli.world_argument import bundle_of

if TYPE_CHECKING:
    from streamdit_gym.live.launch import PlayOptions
    from streamdit_gym.open_weights.open_streams import OpenModel
    from streamdit_gym.world import World


@dataclass(frozen=True, kw_only=True)
class Play(Command):
    """Watch a world as an endless stream and steer it by text: on a page, in a window, in a film.

    Where the world has a reference simulator, it is shown beside the generated frames. An open
    video model, wan:FOLDER or wan:HUB-ID, takes any sentence.
    """

    setting_types: ClassVar[Mapping[str, Any]] = {
        **OPEN_SETTINGS,
        "fps": Annotated[float, Range(0.01, 1000.0)],
        "seed": Seed,
        "show": Literal["browser", "page", "window"],
    }

    world: WorldName
    """name, folder or Hub id; or a Python file that registers the world; or wan:MODEL"""
    script: str | None = None
    """prompts at set times: a file of lines {"at": SECONDS, "prompt": "..."};
    or - for lines from standard input, each a prompt at once
    """
    film: Path | None = None
    """write a film of the script instead of showing it; it ends five seconds after the last prompt
    """
    host: str = "127.0.0.1"
    """address to serve; any but this machine's own creates a token that visitors need"""
    port: Annotated[int, Range(0, 65_535)] = 8000
    """port to serve; 0: any free one"""
    proxy: tuple[str, ...] = ()
    """addresses at which a reverse proxy shows the page, such as lab.example/lab; names of hosts
    create a token, too
    """
    out: Path = Path("runs/play")
    """folder of films recorded on the page"""
    set: Settings = ()
    """partition=reactive: how to stream; can be changed on the page, but not of an open model
    fps: frames per second; default: the world's own
    seed=0: of the start frame and the noise
    show=browser: open the page in a browser; page: serve it only; window: an OpenCV window instead
    of open models alone:
    prompt: what the stream begins with
    frame_size=480,832: height and width
    guidance: weight of prompts, 6 or a trained model's own; 1 for distilled ones
    negative_prompt: what guidance leads away from
    time_shift: of the noise levels; default: the model's own
    clip_steps=30: evaluations for the clip that a stream begins with
    dtype=bfloat16: or float32
    adapter: folder of an adapter that was trained on this model
    """
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""

    def run(self) -> None:
        """Show the stream."""
        from streamdit_gym.live.launch import PlayOptions, play
        from streamdit_gym.live.server_address import ServerAddress, split_proxies

        root_path, allow_hosts = split_proxies(self.proxy)
        address = ServerAddress(
            host=self.host, port=self.port, root_path=root_path, allow_hosts=allow_hosts
        )
        settings = {"show": "browser", **self.settings()}
        own_names = {"fps", "seed", "show"}
        if not is_open_model(self.world):
            own_names.add("partition")
            refuse_settings(settings, set(OPEN_SETTINGS) - own_names, "a world")
        options = PlayOptions(
            script=self.script,
            film=self.film,
            address=address,
            out=self.out,
            **{name: value for name, value in settings.items() if name in own_names},
        )
        play(self._source(options, settings), options)

    def _source(self, options: PlayOptions, settings: Mapping[str, Any]) -> World | OpenModel:
        """Return what is streamed; what is wrong with an open model's prompts is found before."""
        device = choose_device(self.device)
        if not is_open_model(self.world):
            from streamdit_gym.envs.worlds import shared_world

            return shared_world(bundle_of(self.world), device)
        from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS
        from streamdit_gym.live.launch import read_prompts
        from streamdit_gym.open_weights.load_open_model import load_open_model

        script = read_prompts(options, MAX_LONG_PROMPT_CHARS)
        sentences = [timed.prompt for timed in script]
        return load_open_model(self.world, open_settings(settings, device), sentences)
