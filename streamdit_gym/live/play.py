"""`streamdit-gym play`: the stream on a page, in a window, or in a film.

Takes: a world and how to show it.  Gives: whatever shows it.  Knows nothing of: training.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from streamdit_gym.errors import StreamDiTError, require
from streamdit_gym.live.browser import open_page
from streamdit_gym.live.channel import FASTEST
from streamdit_gym.live.lines import hear_lines
from streamdit_gym.live.place import LOCAL, Place, address_of, open_door
from streamdit_gym.live.recording import Recording
from streamdit_gym.live.story import Line, Narrator, read_story
from streamdit_gym.live.stream import Live, has_twin
from streamdit_gym.world import World

log = logging.getLogger("streamdit_gym")
AFTERWARDS_S = 5.0  # of a film, after its story's last line
LONGEST_FILM_S = 24 * 3600.0


def play(
    world: World,
    *,
    twin: bool,
    fps: float | None,
    window: bool,
    script: str | None,
    film: Path | None,
    seconds: float | None,
    host: str,
    port: int,
    browser: bool,
    out: Path,
    root_path: str = "",
    allow_hosts: Sequence[str] = (),
    **settings: Any,
) -> None:
    """Show a stream until somebody ends it; see the command's help for the arguments.

    Raises:
        StreamDiTError: if the settings do not go together, the story cannot be read, or the port is
            taken.
    """
    _check(fps, window, script, film, seconds, port)
    place = Place(
        host=host, port=port, root_path=root_path, allow_hosts=allow_hosts, browser=browser
    )
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
        serve(live, Narrator(story), place, pace, out, listen=script == "-")


def _check(
    fps: float | None,
    window: bool,
    script: str | None,
    film: Path | None,
    seconds: float | None,
    port: int,
) -> None:
    """Refuse settings that do not go together or are out of range."""
    if film is not None and window:
        raise StreamDiTError(
            "a film or a window, not both",
            given="--film --window",
            allowed="one of them",
            remedy="leave --window out",
        )
    if film is not None and script in (None, "-"):
        raise StreamDiTError(
            "a film needs a script",
            given=script,
            allowed="--script FILE --film FILM",
            remedy="write a story first",
        )
    if film is None and seconds is not None:
        raise StreamDiTError(
            "only a film has a length",
            given=f"--seconds {seconds:g}",
            allowed="--film FILM",
            remedy="end a stream by Ctrl-C",
        )
    if fps is not None and not 1 <= fps <= FASTEST:
        raise StreamDiTError(
            "frames per second out of range",
            given=fps,
            allowed=f"1 to {FASTEST:g}",
            remedy="leave --fps out",
        )
    if not 0 <= port < 1 << 16:
        raise StreamDiTError(
            "no such port", given=port, allowed="0 to 65535", remedy="0 takes any free one"
        )


def write_film(
    live: Live, story: list[Line], path: Path, seconds: float | None, fps: float
) -> None:
    """Write a story's film, as fast as it can be made.

    Raises:
        StreamDiTError: if it were too long.
    """
    length = seconds if seconds is not None else story[-1].at + AFTERWARDS_S
    if not 0 < length <= LONGEST_FILM_S:
        live.close()
        raise StreamDiTError(
            "length out of range",
            given=length,
            allowed=f"above 0, to {LONGEST_FILM_S:g} seconds",
            remedy="about 30",
        )
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
    live: Live, narrator: Narrator, place: Place, fps: float, out: Path, listen: bool = False
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        live: the stream.
        narrator: says a story.
        place: where.
        fps: frames per second.
        out: folder for films.
        listen: whether to take prompts from standard input.

    Raises:
        StreamDiTError: if the port cannot be had, or a name or path of the place is none.
    """
    require("uvicorn", "play", "the page")
    require("starlette", "play", "the page")
    from streamdit_gym.live.door import make_server
    from streamdit_gym.live.server import FIRST, House, make_app

    is_open = place.host not in LOCAL or bool(place.allow_hosts)
    token = secrets.token_urlsafe(16) if is_open else None
    house = House(live.world, out, fps)
    try:
        app = make_app(house, place.host, token, place.root_path, place.allow_hosts)
        door = open_door(place)
    except StreamDiTError:
        live.close()
        raise
    house.open(live, narrator)
    address = address_of(place, door.getsockname()[1], token)
    print(f"the stream is at {address}", flush=True)
    if place.allow_hosts or place.root_path:
        name = place.allow_hosts[0] if place.allow_hosts else "HOST"
        print(
            f"behind a proxy: https://{name}{place.root_path}/{f'?token={token}' if token else ''}"
        )
    print("Ctrl-C ends it", flush=True)
    if listen:
        hear_lines(house.channels[FIRST])
    with contextlib.ExitStack() as stack:
        if place.browser:  # the door is open, so the browser may come before the server is up
            stack.enter_context(open_page(address, secret=token is not None))
        with contextlib.suppress(KeyboardInterrupt):  # how it is meant to end
            make_server(app).run(sockets=[door])
