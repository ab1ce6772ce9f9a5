"""`streamdit-gym play`: the stream on a page, in a window, or in a film.

Takes: a world and how to show it.  Gives: whatever shows it.  Knows nothing of: training.
"""

from __future__ import annotations

import contextlib
import html
import logging
import re
import secrets
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from streamdit_gym.checks import shown
from streamdit_gym.errors import StreamDiTError, require
from streamdit_gym.live.channel import FASTEST
from streamdit_gym.live.lines import hear_lines
from streamdit_gym.live.recording import Recording
from streamdit_gym.live.story import Line, Narrator, read_story
from streamdit_gym.live.stream import Live, has_twin
from streamdit_gym.world import World

REDIRECT_S = 30.0  # a browser may take its time to start
EVERYWHERE = ("0.0.0.0", "::", "")
SENT_AHEAD = 1 << 15  # bytes that wait in the system for a viewer who does not read
log = logging.getLogger("streamdit_gym")
AFTERWARDS_S = 5.0  # of a film, after its story's last line
LONGEST_FILM_S = 24 * 3600.0


def play(
    world: World, *, twin: bool, fps: float | None, window: bool, script: str | None, film: Path | None, seconds: float | None, host: str,
    port: int, browser: bool, out: Path, allow_hosts: Sequence[str] = (), root_path: str = "", **settings: Any,
) -> None:  # fmt: skip
    """Show a stream until somebody ends it; see the command's help for the arguments.

    Raises:
        StreamDiTError: if the settings do not go together, the story cannot be read, or the port is taken.
    """
    _check(fps, window, script, film, seconds, port)
    check_root_path(root_path)
    story = [] if script in (None, "-") else read_story(Path(str(script)))
    live = Live(world, twin=twin and has_twin(world), **settings)
    try:  # loads the encoder now, that the first free text does not wait for it
        live.understood("go on")
    except Exception as error:  # the world's own phrases need no encoder
        log.warning("free text will not be understood: %s", error)
    pace = fps or world.spec.fps
    if film is not None:
        write_film(live, story, film, seconds, pace)
    elif window:
        from streamdit_gym.live.window import show

        show(live, pace, out, Narrator(story), listen=script == "-")
    else:
        serve(
            live,
            Narrator(story),
            host,
            port,
            pace,
            out,
            browser,
            listen=script == "-",
            allow_hosts=allow_hosts,
            root_path=root_path,
        )


def _check(fps: float | None, window: bool, script: str | None, film: Path | None, seconds: float | None, port: int) -> None:
    """Refuse settings that do not go together or are out of range."""
    if film is not None and window:
        raise StreamDiTError("a film or a window, not both", given="--film --window", allowed="one of them", remedy="leave --window out")
    if film is not None and script in (None, "-"):
        raise StreamDiTError("a film needs a script", given=script, allowed="--script FILE --film FILM", remedy="write a story first")
    if film is None and seconds is not None:
        raise StreamDiTError(
            "only a film has a length", given=f"--seconds {seconds:g}", allowed="--film FILM", remedy="end a stream by Ctrl-C"
        )
    if fps is not None and not 1 <= fps <= FASTEST:
        raise StreamDiTError("frames per second out of range", given=fps, allowed=f"1 to {FASTEST:g}", remedy="leave --fps out")
    if not 0 <= port < 1 << 16:
        raise StreamDiTError("no such port", given=port, allowed="0 to 65535", remedy="0 takes any free one")


def check_root_path(root_path: str) -> None:
    """Refuse what is no path of an address.

    Raises:
        StreamDiTError: if it does not begin with a slash, ends with one, or holds other than plain characters.
    """
    if root_path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", root_path):
        raise StreamDiTError(
            "no path of an address",
            given=f"--root-path {shown(root_path)}",
            allowed="/NAME, or /NAME/NAME",
            remedy="as in --root-path /lab",
        )


def open_browser(address: str, secret: bool) -> None:
    """Open an address in the user's browser.

    Args:
        address: what to open.
        secret: whether it holds a token. A program's arguments can be read by everybody on a machine, so the browser gets a file
            that leads to the address, which only this user can read, and which is gone after `REDIRECT_S`.
    """
    if not secret:
        webbrowser.open(address)
        return
    with tempfile.TemporaryDirectory(prefix="streamdit-") as place:  # nobody else can look into it
        page = Path(place) / "open.html"
        page.touch(mode=0o600)
        target = html.escape(address, quote=True)
        page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={target}"><a href="{target}">open the stream</a>')
        webbrowser.open(page.as_uri())
        time.sleep(REDIRECT_S)


def write_film(live: Live, story: list[Line], path: Path, seconds: float | None, fps: float) -> None:
    """Write a story's film, as fast as it can be made.

    Raises:
        StreamDiTError: if it were too long.
    """
    length = seconds if seconds is not None else story[-1].at + AFTERWARDS_S
    if not 0 < length <= LONGEST_FILM_S:
        live.close()
        raise StreamDiTError("length out of range", given=length, allowed=f"above 0, to {LONGEST_FILM_S:g} seconds", remedy="about 30")
    native = live.world.spec.fps
    narrator, recording = Narrator(story), Recording(path, fps, live.simulator is not None)
    with tqdm(total=round(length * native), desc="film", unit="frame") as bar:
        try:
            while live.number < length * native:
                said = narrator.due(live.number / native)
                if said is not None:
                    live.say(said)
                for shown in live.move():
                    recording.add(shown)
                    bar.update()
        finally:  # what is there at Ctrl-C is a film, too
            recording.close()
            live.close()
    print(f"the film is {path}")


def serve(
    live: Live, narrator: Narrator, host: str, port: int, fps: float, out: Path, browser: bool, listen: bool = False,
    allow_hosts: Sequence[str] = (), root_path: str = "",
) -> None:  # fmt: skip
    """Serve the page until Ctrl-C.

    Args:
        live: the stream.
        narrator: says a story.
        host: address to serve.
        port: port to serve; 0: any free one.
        fps: frames per second.
        out: folder for films.
        browser: whether to open the page.
        listen: whether to take prompts from standard input.
        allow_hosts: names under which a reverse proxy hands the page on.
        root_path: path under which a reverse proxy asks for the page.

    Raises:
        StreamDiTError: if the port cannot be had.
    """
    uvicorn = require("uvicorn", "play", "the page")
    require("starlette", "play", "the page")
    from streamdit_gym.live.door import guarded_protocol, quiet_log
    from streamdit_gym.live.server import FIRST, House, is_open, make_app

    token = secrets.token_urlsafe(16) if is_open(host, allow_hosts) else None
    # with the protocol named, asyncio turns Nagle's algorithm off, which would hold frames back for 40 ms
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AHEAD)
    try:
        door.bind((host, port))
        door.listen()  # who comes before the server is up waits
    except OSError as error:
        door.close()
        live.close()
        raise StreamDiTError("the port cannot be had", given=f"{host}:{port}: {error}", remedy="choose another with --port") from error
    house = House(live.world, out, fps)
    house.open(live, narrator)
    name = socket.gethostname() if host in EVERYWHERE else host  # nobody can visit "every address"
    address = f"http://{f'[{name}]' if ':' in name else name}:{door.getsockname()[1]}{root_path}/" + (f"?token={token}" if token else "")
    print(f"the stream is at {address}\nCtrl-C ends it", flush=True)
    if listen:
        hear_lines(house.channels[FIRST])
    if browser:
        threading.Thread(target=open_browser, args=(address, token is not None), daemon=True).start()  # the server is up before it is
    config = uvicorn.Config(
        make_app(house, host, token, allowed_hosts=allow_hosts, root_path=root_path),
        http=guarded_protocol(),
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=1 << 16,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
    )
    quiet_log()
    with contextlib.suppress(KeyboardInterrupt):  # how it is meant to end
        uvicorn.Server(config).run(sockets=[door])
