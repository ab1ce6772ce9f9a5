"""The page's server and a reverse proxy, on this machine, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from streamdit_gym import World
from streamdit_gym.live import LiveStream
from streamdit_gym.live.connection_limits import make_server
from streamdit_gym.live.server_address import ServerAddress
from streamdit_gym.live.session_registry import SessionRegistry
from streamdit_gym.live.web_app import make_app


@contextlib.contextmanager
def serving(
    world: World,
    folder: Path,
    fps: float = 30.0,
    token: str | None = None,
    root_path: str = "",
    allow_hosts: tuple[str, ...] = (),
) -> Iterator[tuple[SessionRegistry, int]]:
    """Serve a stream on a free port of the loopback, as `play` does."""
    registry = SessionRegistry(folder, fps)
    address = ServerAddress(root_path=root_path, allow_hosts=allow_hosts)
    listener = address.listen()
    registry.open(LiveStream(world))
    server = make_server(make_app(registry, address, token))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield registry, listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@contextlib.contextmanager
def proxying(port: int, prefix: str, strip: bool = True, host: str | None = None) -> Iterator[int]:
    """Show a server under a path, as nginx or Caddy do.

    Args:
        port: of the server.
        prefix: path under which it is shown.
        strip: whether the proxy takes the path off.
        host: name that the proxy sends on; default: what the visitor sent.
    """
    ports: queue.Queue[int] = queue.Queue()
    stop = threading.Event()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            rewritten = _rewritten_head(head.decode("latin-1"), prefix, strip, host)
            inner_writer.write(rewritten.encode("latin-1"))
            await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))

    async def serve() -> None:
        async with await asyncio.start_server(forward, "127.0.0.1", 0) as server:
            ports.put(server.sockets[0].getsockname()[1])
            while not stop.is_set():
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        yield ports.get(timeout=10)
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def _rewritten_head(head: str, prefix: str, strip: bool, host: str | None) -> str:
    """Return the head of a request as a proxy sends it on, one request for each connection."""
    method, path, rest = head.split(" ", 2)
    assert path.startswith(prefix), f"the page asks for {path}, beside {prefix}"
    if strip:
        path = "/" + path.removeprefix(prefix).lstrip("/")
    if host is not None:
        rest = re.sub(r"(?im)^host:.*?\r\n", f"Host: {host}\r\n", rest)
    if "upgrade: websocket" not in rest.lower():
        rest = re.sub(r"(?im)^connection:.*?\r\n", "", rest)
        rest = rest.replace("\r\n", "\r\nConnection: close\r\n", 1)
    return f"{method} {path} {rest}"


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()
