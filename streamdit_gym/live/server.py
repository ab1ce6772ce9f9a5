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
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from streamdit_gym.errors import StreamDiTError, UnknownNameError
from streamdit_gym.live.channel import Channel, Command, told
from streamdit_gym.live.commands import read_command
from streamdit_gym.live.story import Narrator
from streamdit_gym.live.stream import Live
from streamdit_gym.world import World

PAGE = Path(__file__).parent / "page"
MOST_STREAMS = 4
MOST_VIEWERS = 64
PER_SECOND = 40  # messages of one viewer
PATIENCE = 400  # messages beyond that, until the viewer is sent away
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
        self._turn = threading.Lock()

    def open(self, live: Live, narrator: Narrator | None = None) -> str:
        """Start a channel and return its name; all but the first rest while nobody watches.

        Raises:
            StreamDiTError: if there are too many.
        """
        if len(self.channels) >= MOST_STREAMS:
            live.close()
            raise StreamDiTError("too many streams", given=len(self.channels), allowed=MOST_STREAMS, remedy="use one that is there")
        name = str(len(self.channels) + 1)
        self.channels[name] = Channel(live, self.fps, self._turn, self.folder, name, narrator, rests=bool(self.channels), branch=self.open)
        self.channels[name].start()
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
            await self._news.wait()
            self._news.clear()
            while self._messages:
                await socket.send_text(json.dumps(self._messages.popleft()))
            frame, self._frame = self._frame, None
            if frame is not None:
                await socket.send_bytes(frame)


class Patience:
    """How much a viewer may send: a bucket that fills as time goes by."""

    def __init__(self) -> None:
        self.left, self.refused, self._then = float(PER_SECOND), 0, time.monotonic()

    def take(self) -> bool:
        """Return whether one more message is welcome."""
        now = time.monotonic()
        self.left = min(float(PER_SECOND), self.left + (now - self._then) * PER_SECOND)
        self._then = now
        if self.left < 1:
            self.refused += 1
            return False
        self.left, self.refused = self.left - 1, max(0, self.refused - 1)
        return True


def make_app(house: House, host: str = "127.0.0.1", token: str | None = None) -> Starlette:
    """Return the application.

    Args:
        house: the channels; closed when the application is.
        host: address that is served; any but this machine's own needs a token.
        token: what every visitor must bring.

    Raises:
        StreamDiTError: if another address is served without a token.
    """
    if host not in LOCAL and not token:
        raise StreamDiTError("an open server without a token", given=host, allowed="127.0.0.1", remedy="give a token")

    def refusal(visitor: HTTPConnection) -> str | None:
        origin = visitor.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != visitor.headers.get("host"):
            return f"foreign origin {origin}: this server answers only its own page"
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
        path = house.folder / Path(request.path_params["name"]).name
        if path.suffix != ".mp4" or not path.is_file():
            return PlainTextResponse("no such film", 404)
        return FileResponse(path, media_type="video/mp4", filename=path.name)

    async def talk(socket: WebSocket) -> None:
        refused = refusal(socket)
        channel = house.channels.get(socket.query_params.get("stream", "1"))
        if not refused and channel is None:
            refused = str(UnknownNameError("stream", socket.query_params["stream"], house.channels))
        if not refused and sum(c.watched for c in house.channels.values()) >= MOST_VIEWERS:
            refused = f"too many viewers: {MOST_VIEWERS} are there already"
        if refused or channel is None:
            await socket.send_denial_response(PlainTextResponse(refused or "", 403))
            return
        await socket.accept()
        watcher = Watcher()
        watcher.tell({"kind": "hello", **_hello(house, channel)})
        watcher.tell(channel.settings())
        channel.enter(watcher)
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

    hosts = [*LOCAL, host] if host in LOCAL else ["*"]  # with a token, no other page can guess what to ask for
    return Starlette(
        routes=[
            Route("/", page), Route("/films/{name}", film), WebSocketRoute("/talk", talk),
            Mount("/page", StaticFiles(directory=PAGE)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)], lifespan=lifespan,
    )  # fmt: skip


def _hello(house: House, channel: Channel) -> dict[str, Any]:
    spec = house.world.spec
    return {
        "world": spec.name, "size": spec.size, "native_fps": spec.fps, "stream": channel.name, "twin": channel.live.simulator is not None,
        "menu": channel.live.menu, "suggestions": [phrase for phrases in spec.menu for phrase in phrases[:12]],
    }  # fmt: skip


async def _listen(socket: WebSocket, channel: Channel, watcher: Watcher) -> None:
    """Take a viewer's messages until they leave or are sent away."""
    patience = Patience()
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            return
        if not patience.take():
            if patience.refused == 1:
                error = StreamDiTError("too many messages", allowed=f"{PER_SECOND} a second", remedy="the others are dropped: send fewer")
                watcher.tell(told(error))
            if patience.refused > PATIENCE:
                await socket.close(1008, "too many messages")
                return
            continue
        try:
            command: Command = read_command(received.get("text") or received.get("bytes") or "", watcher)
        except StreamDiTError as error:
            watcher.tell(told(error))
            continue
        channel.post(command)
