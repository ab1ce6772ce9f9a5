"""`streamdit-gym play`: a stream on a page, in a window, or in a film."""

from __future__ import annotations

import contextlib
import logging
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS, MAX_PROMPT_CHARS, check_choice
from streamdit_gym.errors import StreamDiTError, require
from streamdit_gym.live.browser import open_page
from streamdit_gym.live.film_recorder import FilmRecorder
from streamdit_gym.live.frame_pacer import MAX_FPS
from streamdit_gym.live.live_stream import LiveStream
from streamdit_gym.live.open_live_stream import OpenLiveStream
from streamdit_gym.live.parallel_simulator import has_reference_simulator
from streamdit_gym.live.prompt_schedule import PromptSchedule, TimedPrompt, read_script
from streamdit_gym.live.server_address import ServerAddress
from streamdit_gym.live.stdin_prompts import read_prompts_from_stdin
from streamdit_gym.live.stream_protocol import SteeredStream
from streamdit_gym.open_weights.open_streams import OpenModel
from streamdit_gym.world import World

log = logging.getLogger("streamdit_gym")

STDIN = "-"
SHOW = ("browser", "page", "window")
FILM_TAIL_S = 5.0  # of a film, after its script's last prompt


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """How to show a stream.

    Attributes:
        partition: how the buffer is cut; an open model streams as it was loaded.
        fps: frames per second; None: the world's own.
        seed: seed of the start frame and the noise.
        script: a file of timed prompts, or ``-`` for prompts from standard input.
        film: write a film of the script to this file instead of showing it.
        address: where the page is served.
        show: one of `SHOW`: serve the page and open it in a browser, serve it only, or show an
            OpenCV window instead.
        out: folder of films recorded on the page.
    """

    partition: str = "reactive"
    fps: float | None = None
    seed: int = 0
    script: str | None = None
    film: Path | None = None
    address: ServerAddress = field(default_factory=ServerAddress)
    show: str = "page"
    out: Path = Path("runs/play")

    @property
    def reads_stdin(self) -> bool:
        """Whether prompts come from standard input."""
        return self.script == STDIN


def play(source: World | OpenModel, options: PlayOptions) -> None:
    """Show a stream of a world or an open model until it is stopped, or write its film.

    Raises:
        StreamDiTError: if options contradict each other or are out of range, the script cannot be
            read, or the port cannot be used.
    """
    prompts = read_prompts(options, max_prompt_chars_of(source))
    live: SteeredStream
    if isinstance(source, OpenModel):
        live = OpenLiveStream(source, seed=options.seed)
    else:
        live = _stream_of_world(source, options)
    fps = options.fps or live.description.fps
    if options.film is not None:
        write_film(live, prompts, options.film, fps)
    elif options.show == "window":
        from streamdit_gym.live.desktop_window import show_window

        show_window(live, PromptSchedule(prompts), options, fps)
    else:
        serve_page(live, PromptSchedule(prompts), options)


def read_prompts(options: PlayOptions, max_prompt_chars: int) -> list[TimedPrompt]:
    """Return the prompts of the script, if there is one; the options are checked before.

    Raises:
        StreamDiTError: see `check_options` and `read_script`.
    """
    check_options(options)
    if options.script is None or options.reads_stdin:
        return []
    return read_script(Path(options.script), max_prompt_chars)


def max_prompt_chars_of(source: World | OpenModel) -> int:
    """Return how long a prompt of a world or an open model may be."""
    return MAX_LONG_PROMPT_CHARS if isinstance(source, OpenModel) else MAX_PROMPT_CHARS


def _stream_of_world(world: World, options: PlayOptions) -> LiveStream:
    live = LiveStream(
        world,
        partition=options.partition,
        seed=options.seed,
        reference_simulator=has_reference_simulator(world),
    )
    _load_prompt_encoder(live)
    return live


def check_options(options: PlayOptions) -> None:
    """Refuse options that contradict each other or are out of range.

    Raises:
        StreamDiTError: for the first of them.
    """
    check_choice("show", options.show, SHOW)
    if options.film is not None and options.show == "window":
        raise StreamDiTError(
            "a film or a window, not both",
            given="--film with show=window",
            allowed="one of them",
            remedy="leave one of them out",
        )
    if options.film is not None and options.script in (None, STDIN):
        raise StreamDiTError(
            "a film needs a script",
            given=options.script,
            allowed="--script FILE --film FILM",
            remedy="write a script first",
        )
    if options.fps is not None and not 1 <= options.fps <= MAX_FPS:
        raise StreamDiTError(
            "frames per second out of range",
            given=options.fps,
            allowed=f"1 to {MAX_FPS:g}",
            remedy="leave fps out",
        )
    port = options.address.port
    if not 0 <= port < 1 << 16:
        raise StreamDiTError(
            "no such port", given=port, allowed="0 to 65535", remedy="0 takes any free one"
        )


def _load_prompt_encoder(live: LiveStream) -> None:
    """Load the encoder now, so that the first free text does not wait for it."""
    try:
        if live.world.spec.menu:
            live.nearest_action("go on")
        else:
            live.table.rows(["go on"])
    except Exception as error:  # the world's own phrases need no encoder
        log.warning("free text will not be understood: %s", error)


def write_film(live: SteeredStream, prompts: list[TimedPrompt], path: Path, fps: float) -> None:
    """Write a film of a script as fast as it can be generated; it ends 5 s after the last prompt.

    Args:
        live: the stream; it is closed.
        prompts: the script, in order.
        path: an MP4 file.
        fps: frames per second of the film.
    """
    native_fps = live.description.fps
    num_frames = (prompts[-1].at + FILM_TAIL_S) * native_fps
    schedule = PromptSchedule(prompts)
    recorder = FilmRecorder(path, fps, live.description.has_simulator)
    with tqdm(total=round(num_frames), desc="film", unit="frame") as progress:
        try:
            while live.frame_count < num_frames:
                prompt = schedule.due(live.frame_count / native_fps)
                if prompt is not None:
                    live.set_prompt(prompt)
                for frame in live.step():
                    recorder.add(frame)
                    progress.update()
        finally:  # what is there at Ctrl-C is a film, too
            recorder.close()
            live.close()
    print(f"the film is {path}")


def serve_page(live: SteeredStream, schedule: PromptSchedule, options: PlayOptions) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        StreamDiTError: if the port cannot be used.
    """
    require("uvicorn", "play", "the page")
    require("starlette", "play", "the page")
    from streamdit_gym.live.connection_limits import make_server
    from streamdit_gym.live.session_registry import FIRST_SESSION, SessionRegistry
    from streamdit_gym.live.web_app import make_app

    address = options.address
    token = secrets.token_urlsafe(16) if address.is_public else None
    registry = SessionRegistry(options.out, options.fps)
    try:
        app = make_app(registry, address, token)
        listener = address.listen()
    except StreamDiTError:
        live.close()
        raise
    registry.open(live, schedule)
    url = address.url(listener.getsockname()[1], token)
    _print_addresses(url, address.proxy_url(token))
    if options.reads_stdin:
        read_prompts_from_stdin(registry.sessions[FIRST_SESSION])
    with contextlib.ExitStack() as stack:
        # the socket listens, so the browser may come before the server is up
        if options.show == "browser":
            stack.enter_context(open_page(url, secret=token is not None))
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))  # how it is meant to end
        make_server(app).run(sockets=[listener])


def _print_addresses(url: str, proxy_url: str | None) -> None:
    print(f"the stream is at {url}", flush=True)
    if proxy_url is not None:
        print(f"behind a proxy: {proxy_url}")
    print("Ctrl-C ends it", flush=True)
