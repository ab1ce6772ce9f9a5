"""The page's server: hands the page out, frames to every viewer, commands to the stream.

Takes: channels.  Gives: an ASGI application.  Knows nothing of: models.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from streamdit_gym.checks import MAX_PROMPT_CHARS, shown
from streamdit_gym.errors import StreamDiTError, UnknownNameError
from streamdit_gym.live.channel import Channel, Command, told
from streamdit_gym.live.commands import read_command
from streamdit_gym.live.place import LOCAL, check_host_name, check_root_path
from streamdit_gym.live.recording import FILMS, MAX_BYTES, MAX_FILMS
from streamdit_gym.live.story import Narrator
from streamdit_gym.live.stream import Live
from streamdit_gym.world import World

PAGE = Path(__file__).parent / "page"
FIRST = "1"  # the stream that never rests
MOST_STREAMS = 4
MOST_VIEWERS = 64
MORE_SUGGESTIONS = 32  # of what the training data say beside the menu
PER_SECOND, AT_ONCE = (
    40,
    100,
)  # messages of one viewer, in the long run and after a while of silence
COSTS = {
    "set": 4,
    **dict.fromkeys(("save", "restore", "rewind", "begin", "record", "branch"), 20),
}  # messages that they count as
PATIENCE = 400  # messages beyond that, until the viewer is sent away
ALIVE_S = 2.0  # a page that has not heard anything for longer knows that the line is dead
LONGEST_REASON = 120  # bytes, of why a socket is closed
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
FILM_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}


class House:
    """All channels of a server; they share the world's weights and take turns.

    Args:
        world: the world.
        folder: where films go.
        fps: frames per second of new channels.
    """

    def __init__(self, world: World, folder: Path, fps: float) -> None:
        self.world, self.folder, self.fps = world, folder, fps
        self.channels: dict[str, Channel] = {}
        self._opened = 0
        self._turn = threading.Lock()

    def open(self, live: Live, narrator: Narrator | None = None) -> str:
        """Start a channel and return its name; all but the first rest while nobody watches, and
        make room for others.

        Raises:
            StreamDiTError: if there are too many that somebody watches.
        """
        others = dict(self.channels)
        if len(others) >= MOST_STREAMS:
            left = next(
                (name for name, channel in others.items() if name != FIRST and not channel.watched),
                None,
            )
            if left is None:
                live.close()
                raise StreamDiTError(
                    "too many streams",
                    given=len(others),
                    allowed=MOST_STREAMS,
                    remedy="use one that is there",
                )
            others.pop(left).end()  # nobody watches it
        self._opened += 1
        name = str(self._opened)
        made = Channel(
            live,
            self.fps,
            self._turn,
            self.folder,
            name,
            narrator,
            rests=bool(others),
            branch=self.open,
        )
        self.channels = {**others, name: made}
        made.start()
        return name

    def refusal(self, name: str) -> str | None:
        """Return why nobody else may watch a stream; None: they may."""
        if name not in self.channels:
            return str(UnknownNameError("stream", shown(name[:60])[1:-1], self.channels))
        if sum(channel.watched for channel in self.channels.values()) >= MOST_VIEWERS:
            return f"too many viewers: {MOST_VIEWERS} are there already"
        return None

    def close(self) -> None:
        """Stop every channel."""
        for channel in self.channels.values():
            channel.stop()


class Watcher:
    """A viewer behind a socket: of frames only the newest waits, of messages the last few."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._frame: bytes | None = None
        self._messages: collections.deque[dict[str, Any]] = collections.deque(maxlen=64)

    def show(self, packed: bytes) -> None:
        """Take a frame."""
        self._frame = packed
        self._ring()

    def tell(self, message: dict[str, Any]) -> None:
        """Take a message."""
        self._messages.append(message)
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there any more
            self._loop.call_soon_threadsafe(self._news.set)

    async def send(self, socket: WebSocket) -> None:
        """Send whatever comes, for ever."""
        while True:
            try:
                await asyncio.wait_for(self._news.wait(), ALIVE_S)
            except TimeoutError:
                await socket.send_text('{"kind": "alive"}')
            self._news.clear()
            while self._messages:
                await socket.send_text(json.dumps(self._messages.popleft()))
            frame, self._frame = self._frame, None
            if frame is not None:
                await socket.send_bytes(frame)


class Patience:
    """How much a viewer may send: a bucket that fills as time goes by."""

    def __init__(self) -> None:
        self.left, self.refused, self._then = float(AT_ONCE), 0, time.monotonic()

    def take(self, cost: int = 1) -> bool:
        """Return whether a message that counts as so many is welcome."""
        now = time.monotonic()
        self.left = min(float(AT_ONCE), self.left + (now - self._then) * PER_SECOND)
        self._then = now
        if self.left < cost:
            self.refused += 1
            return False
        self.left, self.refused = self.left - cost, max(0, self.refused - 1)
        return True


class _Prefix:
    """Takes off the path under which a proxy shows the page, where the proxy has not done so."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app, self.root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if (
            scope["type"] == "http" and path == self.root_path
        ):  # the page's addresses are relative to what ends in a slash
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(f"{path}/?{query}" if query else f"{path}/")(
                scope, receive, send
            )
            return
        if path.startswith(f"{self.root_path}/"):
            scope = {**scope, "path": path.removeprefix(self.root_path)}
        await self.app(scope, receive, send)


class Visitors:
    """Who may come in: pages of this server alone, by a name that it knows,
    with the token if there is one.
    """

    def __init__(self, token: str | None, hosts: Sequence[str]) -> None:
        self._token, self._hosts = token, hosts

    def refusal(self, visitor: HTTPConnection) -> str | None:
        """Return why a visitor is refused; None: they may come in."""
        origin = visitor.headers.get("origin")
        if origin is not None and not self._is_own(origin, visitor.headers.get("host", "")):
            return f"foreign origin {origin[:40]}: this server answers only its own page; behind a proxy: --allow-host"
        given = visitor.query_params.get("token", "")
        if self._token is not None and not secrets.compare_digest(
            given.encode(), self._token.encode()
        ):
            return (
                "wrong or missing token: use the address that the server printed, with ?token=..."
            )
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
            name = parts.hostname or ""
        except ValueError:
            return False
        return bool(name) and (
            parts.netloc == host or name in self._hosts or f"[{name}]" in self._hosts
        )


def make_app(
    house: House,
    host: str = "127.0.0.1",
    token: str | None = None,
    root_path: str = "",
    allow_hosts: Sequence[str] = (),
) -> ASGIApp:
    """Return the application.

    Args:
        house: the channels; closed when the application is.
        host: address that is served; any but this machine's own needs a token.
        token: what every visitor must bring.
        root_path: path under which a proxy shows the page.
        allow_hosts: names under which a proxy shows the page; they need a token.

    Raises:
        StreamDiTError: if another address is served without a token, or a path or name is none.
    """
    allowed = [check_host_name(name) for name in allow_hosts]
    prefix = check_root_path(root_path)
    if (host not in LOCAL or allowed) and not token:
        raise StreamDiTError(
            "an open server without a token",
            given=[host, *allowed],
            allowed="127.0.0.1",
            remedy="give a token",
        )
    hosts = (
        [*LOCAL, *allowed] if host in LOCAL else ["*"]
    )  # with a token, no other page can guess what to ask for
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)]
    if prefix:
        middleware.append(Middleware(_Prefix, root_path=prefix))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(house.close)

    return Starlette(
        routes=_routes(house, Visitors(token, allowed)), middleware=middleware, lifespan=lifespan
    )


def _routes(house: House, visitors: Visitors) -> list[BaseRoute]:
    async def page(request: Request) -> Response:
        refused = visitors.refusal(request)
        return _refused(refused) if refused else FileResponse(PAGE / "index.html", headers=HEADERS)

    async def film(request: Request) -> Response:
        refused = visitors.refusal(request)
        if refused:
            return _refused(refused)
        films = {path.name: path for path in house.folder.glob(FILMS)}
        path = films.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("no such film", 404)
        return FileResponse(path, media_type="video/mp4", filename=path.name, headers=FILM_HEADERS)

    async def talk(socket: WebSocket) -> None:
        await socket.accept()  # a browser shows its page the reason of a close, not of a refusal
        refused = visitors.refusal(socket) or house.refusal(
            socket.query_params.get("stream", FIRST)
        )
        if refused:
            await socket.close(1008, refused.encode()[:LONGEST_REASON].decode(errors="ignore"))
        else:
            await _watch(socket, house, house.channels[socket.query_params.get("stream", FIRST)])

    return [
        Route("/", page),
        Route("/films/{name}", film),
        WebSocketRoute("/talk", talk),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]


def _refused(why: str) -> Response:
    return PlainTextResponse(
        why, 403, headers={"Connection": "close"}
    )  # who is refused does not hold a connection


async def _watch(socket: WebSocket, house: House, channel: Channel) -> None:
    """Let a viewer watch until they leave or are sent away."""
    watcher = Watcher()
    watcher.tell({"kind": "hello", **_hello(house, channel)})
    channel.enter(watcher)
    watcher.tell(channel.settings())
    sender = asyncio.create_task(watcher.send(socket))
    try:
        await _listen(socket, channel, watcher)
    finally:
        channel.leave(watcher)
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await sender


def _hello(house: House, channel: Channel) -> dict[str, Any]:
    spec = house.world.spec
    more = spec.also[:: len(spec.also) // MORE_SUGGESTIONS + 1]
    return {
        "world": spec.name,
        "size": spec.size,
        "stream": channel.name,
        "twin": channel.live.simulator is not None,
        "menu": channel.live.menu,
        "suggestions": [*(phrase for phrases in spec.menu for phrase in phrases[:12]), *more],
        "prompt_chars": MAX_PROMPT_CHARS,
        "films": MAX_FILMS,
        "film_mib": MAX_BYTES >> 20,
    }


async def _listen(socket: WebSocket, channel: Channel, watcher: Watcher) -> None:
    """Take a viewer's messages until they leave or are sent away."""
    patience = Patience()
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            return
        problem: StreamDiTError | None = None
        try:
            text = received.get("text")
            command: Command = read_command(
                received.get("bytes") or b"" if text is None else text, watcher
            )
        except StreamDiTError as error:
            problem = error
        if not patience.take(1 if problem is not None else COSTS.get(command.do, 1)):
            if patience.refused == 1:
                error = StreamDiTError(
                    "too many messages",
                    allowed=f"{PER_SECOND} a second",
                    remedy="the others are dropped: send fewer",
                )
                watcher.tell(told(error))
            if patience.refused > PATIENCE:
                await socket.close(1008, "too many messages")
                return
        elif problem is not None:
            watcher.tell(told(problem))
        else:
            channel.post(command)
