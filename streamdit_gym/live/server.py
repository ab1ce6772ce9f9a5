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
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from streamdit_gym.errors import StreamDiTError, UnknownNameError
from streamdit_gym.live.channel import Channel, Command, told
from streamdit_gym.live.commands import read_command
from streamdit_gym.live.story import Narrator
from streamdit_gym.live.stream import Live
from streamdit_gym.world import World

PAGE = Path(__file__).parent / "page"
FIRST = "1"  # the stream that never rests
MOST_STREAMS = 4
MOST_VIEWERS = 64
MORE_SUGGESTIONS = 32  # of what the training data say beside the menu
PER_SECOND, AT_ONCE = 40, 100  # messages of one viewer, in the long run and after a while of silence
COSTS = {"set": 4, **dict.fromkeys(("save", "restore", "rewind", "begin", "record", "branch"), 20)}  # messages that they count as
PATIENCE = 400  # messages beyond that, until the viewer is sent away
ALIVE_S = 2.0  # a page that has not heard anything for longer knows that the line is dead
LONGEST_REASON = 120  # bytes, of why a socket is closed
LOCAL = ("localhost", "127.0.0.1", "::1", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
}  # fmt: skip


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
        """Start a channel and return its name; all but the first rest while nobody watches, and make room for others.

        Raises:
            StreamDiTError: if there are too many that somebody watches.
        """
        others = dict(self.channels)
        if len(others) >= MOST_STREAMS:
            left = next((name for name, channel in others.items() if name != FIRST and not channel.watched), None)
            if left is None:
                live.close()
                raise StreamDiTError("too many streams", given=len(others), allowed=MOST_STREAMS, remedy="use one that is there")
            others.pop(left).end()  # nobody watches it
        self._opened += 1
        name = str(self._opened)
        made = Channel(live, self.fps, self._turn, self.folder, name, narrator, rests=bool(others), branch=self.open)
        self.channels = {**others, name: made}
        made.start()
        return name

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


def is_open(host: str, allowed_hosts: Sequence[str] = ()) -> bool:
    """Return whether others than this machine's own users can reach a server, so that it needs a token."""
    return host not in LOCAL or bool(allowed_hosts)


def make_app(
    house: House,
    host: str = "127.0.0.1",
    token: str | None = None,
    *,
    allowed_hosts: Sequence[str] = (),
    root_path: str = "",
) -> Starlette:
    """Return the application.

    Args:
        house: the channels; closed when the application is.
        host: address that is served; any but this machine's own needs a token.
        token: what every visitor must bring.
        allowed_hosts: names under which a reverse proxy hands the page on, without a port; they need a token, too.
        root_path: path under which a reverse proxy asks for the page, such as ``"/lab"``; without it the page answers at the root alone.

    Raises:
        StreamDiTError: if others can reach the server and there is no token.
    """
    if is_open(host, allowed_hosts) and not token:
        raise StreamDiTError("an open server without a token", given=host, allowed="127.0.0.1", remedy="give a token")

    def refusal(visitor: HTTPConnection) -> str | None:
        origin = visitor.headers.get("origin")
        if origin is not None and not _is_own(origin, visitor.headers.get("host"), allowed_hosts):
            return f"foreign origin {origin[:40]}: this server answers only its own page"
        if token is not None and not secrets.compare_digest(visitor.query_params.get("token", "").encode(), token.encode()):
            return "wrong or missing token: use the address that the server printed, with ?token=..."
        return None

    async def page(request: Request) -> Response:
        refused = refusal(request)
        return PlainTextResponse(refused, 403) if refused else FileResponse(PAGE / "index.html", headers=HEADERS)

    async def film(request: Request) -> Response:
        refused = refusal(request)
        if refused:
            return PlainTextResponse(refused, 403)
        films = {path.name: path for path in house.folder.glob("stream-*.mp4")}
        path = films.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("no such film", 404)
        return FileResponse(path, media_type="video/mp4", filename=path.name)

    async def talk(socket: WebSocket) -> None:
        refused = refusal(socket)
        channel = house.channels.get(socket.query_params.get("stream", FIRST))
        if not refused and channel is None:
            refused = str(UnknownNameError("stream", socket.query_params["stream"], house.channels))
        if not refused and sum(c.watched for c in house.channels.values()) >= MOST_VIEWERS:
            refused = f"too many viewers: {MOST_VIEWERS} are there already"
        await socket.accept()
        if refused or channel is None:  # a browser shows its page the reason of a close, not of a refusal
            await socket.close(1008, (refused or "").encode()[:LONGEST_REASON].decode(errors="ignore"))
            return
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

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(house.close)

    routes: list[BaseRoute] = [
        Route("/", page),
        Route("/films/{name}", film),
        WebSocketRoute("/talk", talk),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    if root_path:  # a proxy may leave the path as it is, or take it away
        routes.append(Mount(root_path, routes=list(routes)))
    hosts = [*LOCAL, host, *allowed_hosts] if host in LOCAL else ["*"]  # with a token, no other page can guess what to ask for
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        lifespan=lifespan,
    )


def _is_own(origin: str, host: str | None, allowed_hosts: Sequence[str]) -> bool:
    """Return whether a browser's page comes from this server, or from a proxy in front of it."""
    try:
        address = urlsplit(origin)
        return address.netloc == host or address.hostname in allowed_hosts
    except ValueError:
        return False


def _hello(house: House, channel: Channel) -> dict[str, Any]:
    spec = house.world.spec
    more = spec.also[:: len(spec.also) // MORE_SUGGESTIONS + 1]
    return {
        "world": spec.name, "size": spec.size, "stream": channel.name, "twin": channel.live.simulator is not None,
        "menu": channel.live.menu, "suggestions": [*(phrase for phrases in spec.menu for phrase in phrases[:12]), *more],
    }  # fmt: skip


async def _listen(socket: WebSocket, channel: Channel, watcher: Watcher) -> None:
    """Take a viewer's messages until they leave or are sent away."""
    patience = Patience()
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            return
        problem: StreamDiTError | None = None
        try:
            command: Command = read_command(received.get("text") or received.get("bytes") or "", watcher)
        except StreamDiTError as error:
            problem = error
        if not patience.take(1 if problem is not None else COSTS.get(command.do, 1)):
            if patience.refused == 1:
                error = StreamDiTError("too many messages", allowed=f"{PER_SECOND} a second", remedy="the others are dropped: send fewer")
                watcher.tell(told(error))
            if patience.refused > PATIENCE:
                await socket.close(1008, "too many messages")
                return
        elif problem is not None:
            watcher.tell(told(problem))
        else:
            channel.post(command)
