"""Who may stand at the server's door, and for how long.

Takes: connections.  Gives: a protocol for uvicorn that closes those that ask for nothing.  Knows nothing of: streams.

uvicorn waits for ever for the first byte of a request, so connections that stay silent would lock everybody out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_TIMEOUT_S = 10.0  # until a whole request has come
MAX_WAITING = 64  # connections that have not sent a whole request yet; of more, the oldest is closed
MAX_CONNECTIONS = 256  # HTTP connections in all; of more, the newest is refused
LOG_EVERY_S = 10.0  # between two equal lines of the log


class Door:
    """The connections of one server: who waits with half a request, who is being answered."""

    def __init__(self) -> None:
        self.waiting: dict[GuardedProtocol, None] = {}  # oldest first
        self.connections: set[GuardedProtocol] = set()

    def enter(self, protocol: GuardedProtocol) -> bool:
        """Take a new connection; return whether there is room for it."""
        if len(self.waiting) >= MAX_WAITING:
            next(iter(self.waiting)).close()
        if len(self.connections) >= MAX_CONNECTIONS:
            return False
        self.connections.add(protocol)
        return True

    def leave(self, protocol: GuardedProtocol) -> None:
        """Forget a connection."""
        self.waiting.pop(protocol, None)
        self.connections.discard(protocol)


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 whose requests must come whole within `REQUEST_TIMEOUT_S`."""

    door: Door
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it at once where there are too many."""
        super().connection_made(transport)
        if not self.door.enter(self):
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; once it is whole, it may take as long as it takes."""
        if self._deadline is None and self._is_idle():
            self._wait()
        super().data_received(data)
        if not self._is_idle():
            self._stop_waiting()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Hand the connection on; from here on it is a viewer's."""
        self._stop_waiting()
        self.door.leave(self)
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        self.door.leave(self)
        super().connection_lost(exc)

    def close(self) -> None:
        """Close a connection that asks for nothing; its place is free at once."""
        self._stop_waiting()
        self.door.leave(self)
        self.transport.abort()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self.door.waiting[self] = None
        self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self.close)

    def _stop_waiting(self) -> None:
        self.door.waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class RareLines(logging.Filter):
    """Lets a line of the log through once in `LOG_EVERY_S`, however often it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        now = time.monotonic()
        key = str(record.msg)[:200]
        if now - self._written.get(key, -LOG_EVERY_S) < LOG_EVERY_S:
            return False
        if len(self._written) > 100:
            self._written.clear()
        self._written[key] = now
        return True


def guarded_protocol() -> type[GuardedProtocol]:
    """Return a protocol class with a door of its own, for one server's ``uvicorn.Config(http=...)``."""
    return type("GuardedProtocol", (GuardedProtocol,), {"door": Door()})


def quiet_log() -> None:
    """Keep hostile visitors from filling the log of uvicorn and asyncio."""
    for name in ("uvicorn.error", "asyncio"):
        log = logging.getLogger(name)
        if not any(isinstance(part, RareLines) for part in log.filters):
            log.addFilter(RareLines())
