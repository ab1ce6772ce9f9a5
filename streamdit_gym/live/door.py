"""Limits on the connections of the page's server: how many, how slow, and how much they may write
into the log.

Takes: uvicorn's protocols.  Gives: the same protocols with limits.  Knows nothing of: streams,
    worlds, pages.

uvicorn itself waits for ever for a request that never comes whole, and for a visitor who never
reads.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

REQUEST_S = 10.0  # until a whole request has come
UNREAD_S = 20.0  # until a visitor has read what was sent
CLOSING_S = 2.0  # until a refused viewer has taken leave
MAX_CONNECTIONS = 256
MAX_IDLE = 64  # connections without a request under way; the oldest makes room for a new one
MAX_PER_ADDRESS = 64  # of another machine
ACCEPTED_AT_ONCE = 16  # asyncio takes so many connections before it looks at the first
QUEUE = 1024  # connections that wait in the system
LOG_PERIOD_S = 60.0  # a message of the same kind is logged once in so long


def max_connections() -> int:
    """Return how many connections are served: half of the files that this process may open,
    at most `MAX_CONNECTIONS`.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MAX_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files // 2)


def is_local(address: str | None) -> bool:
    """Return whether an address is this machine's loopback; a proxy that runs here is,
    for example.
    """
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


class _Unread:
    """Cuts a connection whose other end does not read."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Something waits to be read: begin to count."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Everything has been read."""
        super().resume_writing()
        self._stop_counting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_counting()
        super().connection_lost(exc)

    def _stop_counting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class HTTPVisitor(_Unread, H11Protocol):
    """HTTP with limits on the number of connections and on the time until a whole request has
    come.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.idle_since = self.loop.time()
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is under way; one that has not come wholly is not."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there is room or room can be made."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(
            high=0
        )  # the system's own buffer is enough: of frames only the newest counts
        self._deadline = self.loop.call_later(REQUEST_S, transport.abort)
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)
        try:
            super().data_received(data)
        except Exception:  # no bytes of a visitor may end in a traceback
            self.logger.warning("a request that cannot be understood")
            self.transport.abort()
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._forget_deadline()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.idle_since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        visitors = [each for each in self.connections if isinstance(each, HTTPVisitor)]
        idle = [each for each in visitors if each.idle]
        most = max_connections()
        if len(idle) > min(MAX_IDLE, most // 4):
            min(idle, key=lambda each: each.idle_since)._leave()
        address = self.client[0] if self.client else None
        if len(self.connections) > most or (
            not is_local(address) and self._of_address(address) > MAX_PER_ADDRESS
        ):
            self._leave()

    def _of_address(self, address: str | None) -> int:
        clients = [getattr(each, "client", None) for each in self.connections]
        return sum(client is not None and client[0] == address for client in clients)

    def _leave(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class SocketVisitor(_Unread, WebSocketsSansIOProtocol):
    """A web socket with limits on what waits to be sent and on what has come in part."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = CLOSING_S

    def data_received(self, data: bytes) -> None:
        """Take bytes of messages."""
        try:
            super().data_received(data)
        except Exception:  # no bytes of a visitor may end in a traceback
            self.logger.warning("a message that cannot be understood")
            self.transport.abort()

    def handle_cont(self, event: Any) -> None:
        """Refuse messages in pieces, of which endless ones could come: no browser sends them."""
        self.conn.fail(1003, "messages in pieces are not taken")
        self.handle_parser_exception()

    def handle_ping(self) -> None:
        """Answer a ping, unless the last answers have not been read."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()


class RareLog(logging.Filter):
    """Lets a message of a kind through once in a while, so that visitors cannot fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        kind = str(record.msg).splitlines()[0][:80] if record.msg else ""
        now = time.monotonic()
        if (
            record.levelno < logging.WARNING
            or now - self._last.get(kind, -LOG_PERIOD_S) >= LOG_PERIOD_S
        ):
            self._last[kind] = now
            if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
                record.exc_info = None  # a visitor's fault, not ours
            return True
        return False


RARE_LOG = RareLog()


class Server(uvicorn.Server):
    """uvicorn's server, which takes few connections at once though many may wait."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        for door in sockets or []:
            door.listen(QUEUE)


def make_server(app: Any) -> Server:
    """Return a server of an application, with all limits."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses have the token in them
        server_header=False,
        http=HTTPVisitor,
        ws=SocketVisitor,
        ws_max_size=1 << 16,
        ws_per_message_deflate=False,
        backlog=ACCEPTED_AT_ONCE,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
    )
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(RARE_LOG)
    return Server(config)
