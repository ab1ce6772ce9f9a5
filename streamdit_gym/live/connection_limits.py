"""uvicorn's server with limits on connections: how many, how slow, and how much they may log.

uvicorn itself waits without limit for a request that never ends, and for a client who never
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

REQUEST_TIMEOUT_S = 10.0  # until a whole request has arrived
READ_TIMEOUT_S = 20.0  # until a client has read what was sent
CLOSE_TIMEOUT_S = 2.0  # until a refused viewer has closed the socket
MAX_CONNECTIONS = 256
MAX_IDLE = 64  # connections without a request in progress; the oldest gives way to a new one
MAX_PER_ADDRESS = 64  # connections of another machine
ACCEPT_BATCH = 16  # asyncio accepts so many connections before it handles the first
LISTEN_BACKLOG = 1024  # connections that wait in the system
LOG_PERIOD_S = 60.0  # messages of the same kind are logged once in this time


def max_connections() -> int:
    """Return how many connections are served: half of the files that this process may open.

    They are at most `MAX_CONNECTIONS`.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MAX_CONNECTIONS
    max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if max_files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max_files // 2)


def is_loopback(address: str | None) -> bool:
    """Return whether an address is this machine itself, as a local proxy's is."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


class _ReadTimeout:
    """Closes a connection whose client does not read what was sent."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _read_timer: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Start the timer: something waits to be read."""
        super().pause_writing()
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(READ_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer: everything has been read."""
        super().resume_writing()
        self._cancel_read_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer of a closed connection."""
        self._cancel_read_timer()
        super().connection_lost(exc)

    def _cancel_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None


class LimitedHTTP(_ReadTimeout, H11Protocol):
    """HTTP with limits on the number of connections and on the time to send a request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.idle_since = self.loop.time()
        self._request_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress; one that has not arrived whole does not count."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there is room or room can be made."""
        super().connection_made(transport)
        # the system's own buffer is enough: only the newest frame matters
        transport.set_write_buffer_limits(high=0)
        self._start_request_timer()
        self._enforce_limits()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        if self._request_timer is None:
            self._start_request_timer()
        try:
            super().data_received(data)
        except Exception:  # no bytes of a client may end in a traceback
            self.logger.warning("a request that cannot be understood")
            self.transport.abort()
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._cancel_request_timer()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection to a web socket: its request has arrived whole."""
        self._cancel_request_timer()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.idle_since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer of a closed connection."""
        self._cancel_request_timer()
        super().connection_lost(exc)

    def _enforce_limits(self) -> None:
        """Close the connection that has been idle longest, or this one, if there are too many."""
        limit = max_connections()
        http = [each for each in self.connections if isinstance(each, LimitedHTTP)]
        idle = [each for each in http if each.is_idle]
        if len(idle) > min(MAX_IDLE, limit // 4):
            oldest = min(idle, key=lambda each: each.idle_since)
            oldest._close()
        if len(self.connections) > limit or self._address_is_over_limit():
            self._close()

    def _address_is_over_limit(self) -> bool:
        address = self.client[0] if self.client else None
        if is_loopback(address):
            return False
        clients = [getattr(each, "client", None) for each in self.connections]
        same_address = [client for client in clients if client and client[0] == address]
        return len(same_address) > MAX_PER_ADDRESS

    def _close(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    def _start_request_timer(self) -> None:
        self._request_timer = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def _cancel_request_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None


class LimitedWebSocket(_ReadTimeout, WebSocketsSansIOProtocol):
    """A web socket with limits on what waits to be sent and on incomplete messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = CLOSE_TIMEOUT_S

    def data_received(self, data: bytes) -> None:
        """Take bytes of messages."""
        try:
            super().data_received(data)
        except Exception:  # no bytes of a client may end in a traceback
            self.logger.warning("a message that cannot be understood")
            self.transport.abort()

    def shutdown(self) -> None:
        """Close when the server ends; a handshake that was refused gets no second answer."""
        if self.conn.eof_sent:
            self.transport.close()
        else:
            super().shutdown()

    def handle_cont(self, event: Any) -> None:
        """Refuse fragmented messages, which might never end: no browser sends them."""
        self.conn.fail(1003, "fragmented messages are not taken")
        self.handle_parser_exception()

    def handle_ping(self) -> None:
        """Answer a ping, unless the last answers have not been read."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()


class LogThrottle(logging.Filter):
    """Logs a message of a kind once in a while, so that clients cannot fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._last_logged: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        kind = str(record.msg).splitlines()[0][:80] if record.msg else ""
        now = time.monotonic()
        elapsed = now - self._last_logged.get(kind, -LOG_PERIOD_S)
        if record.levelno >= logging.WARNING and elapsed < LOG_PERIOD_S:
            return False
        self._last_logged[kind] = now
        if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
            record.exc_info = None  # the client's fault, not ours
        return True


LOG_THROTTLE = LogThrottle()


class Server(uvicorn.Server):
    """uvicorn's server, which accepts few connections at once although many may wait."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve."""
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(LISTEN_BACKLOG)


def make_server(app: Any) -> Server:
    """Return a server of an application, with all limits."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses contain the token
        server_header=False,
        http=LimitedHTTP,
        ws=LimitedWebSocket,
        ws_max_size=1 << 16,
        ws_per_message_deflate=False,
        backlog=ACCEPT_BATCH,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
    )
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(LOG_THROTTLE)
    return Server(config)
