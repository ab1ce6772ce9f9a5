"""A viewer behind a web socket: sending frames and messages, taking commands."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json

from starlette.websockets import WebSocket

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live.command_parser import parse_command
from streamdit_gym.live.command_queue import Command
from streamdit_gym.live.film_recorder import MAX_FILMS, MAX_FOLDER_BYTES
from streamdit_gym.live.live_session import LiveSession
from streamdit_gym.live.rate_limiter import MAX_REFUSED, RATE_PER_S, RateLimiter
from streamdit_gym.live.viewer_messages import Message, error_message
from streamdit_gym.world_folders import shipped_worlds

MAX_QUEUED_MESSAGES = 64
HEARTBEAT_S = 2.0  # a page that hears nothing for longer knows that the connection is dead
POLICY_VIOLATION = 1008
EXPENSIVE_COMMANDS = ("save", "restore", "rewind", "reset", "record", "branch", "open")
# how many messages a command counts as
COSTS = {"configure": 4, **dict.fromkeys(EXPENSIVE_COMMANDS, 20)}


class ViewerConnection:
    """Sends to one viewer: of frames only the newest waits, of messages the last few."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._has_news = asyncio.Event()
        self._frame: bytes | None = None
        self._messages: collections.deque[Message] = collections.deque(maxlen=MAX_QUEUED_MESSAGES)

    def send_frame(self, packed: bytes) -> None:
        """Take a frame; may be called from any thread."""
        self._frame = packed
        self._wake_sender()

    def send_message(self, message: Message) -> None:
        """Take a message; may be called from any thread."""
        self._messages.append(message)
        self._wake_sender()

    def _wake_sender(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the viewer has left
            self._loop.call_soon_threadsafe(self._has_news.set)

    async def run_sender(self, socket: WebSocket) -> None:
        """Send whatever is queued, without end."""
        while True:
            try:
                await asyncio.wait_for(self._has_news.wait(), HEARTBEAT_S)
            except TimeoutError:
                await socket.send_text('{"kind": "heartbeat"}')
            self._has_news.clear()
            while self._messages:
                await socket.send_text(json.dumps(self._messages.popleft()))
            frame = self._frame
            self._frame = None
            if frame is not None:
                await socket.send_bytes(frame)


async def serve_viewer(socket: WebSocket, session: LiveSession) -> None:
    """Let a viewer watch and steer a session until they leave or are disconnected."""
    connection = ViewerConnection()
    connection.send_message(_hello_message(session))
    session.add_viewer(connection)
    connection.send_message(session.settings())
    sender = asyncio.create_task(connection.run_sender(socket))
    try:
        await _receive_commands(socket, session, connection)
    finally:
        session.remove_viewer(connection)
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await sender


def _hello_message(session: LiveSession) -> Message:
    """Return what a page needs to know of a session that never changes."""
    description = session.live.description
    height, width = description.frame_size
    return {
        "kind": "hello",
        "world": description.name,
        "worlds": shipped_worlds(),
        "height": height,
        "width": width,
        "stream": session.name,
        "has_simulator": description.has_simulator,
        "menu": description.menu,
        "directions": description.directions,
        "dimensions": description.dimensions,
        "suggestions": description.suggestions,
        "fixed_settings": description.fixed_settings,
        "max_prompt_chars": description.max_prompt_chars,
        "max_films": MAX_FILMS,
        "max_film_mib": MAX_FOLDER_BYTES >> 20,
    }


async def _receive_commands(
    socket: WebSocket, session: LiveSession, connection: ViewerConnection
) -> None:
    """Take a viewer's messages until they leave or are disconnected."""
    limiter = RateLimiter()
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            return
        text = received.get("text")
        message = received.get("bytes") or b"" if text is None else text
        command = _parse_or_error(message, connection)
        cost = COSTS.get(command.name, 1) if isinstance(command, Command) else 1
        if not limiter.allow(cost):
            if limiter.num_refused == 1:
                connection.send_message(error_message(_too_many_messages()))
            if limiter.num_refused > MAX_REFUSED:
                await socket.close(POLICY_VIOLATION, "too many messages")
                return
        elif isinstance(command, Command):
            session.post(command)
        else:
            connection.send_message(error_message(command))


def _parse_or_error(message: str | bytes, connection: ViewerConnection) -> Command | StreamDiTError:
    """Return a message's command, or the error to answer with once the limiter lets it pass."""
    try:
        return parse_command(message, connection)
    except StreamDiTError as error:
        return error


def _too_many_messages() -> StreamDiTError:
    return StreamDiTError(
        "too many messages",
        allowed=f"{RATE_PER_S:g} a second",
        remedy="the others are dropped: send fewer",
    )
