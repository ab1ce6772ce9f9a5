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
from streamdit_gym.live import Live
from streamdit_gym.live.door import make_server
from streamdit_gym.live.place import Place, open_door
from streamdit_gym.live.server import House, make_app


@contextlib.contextmanager
def serving(
    world: World,
    folder: Path,
    fps: float = 30.0,
    token: str | None = None,
    root_path: str = "",
    allow_hosts: tuple[str, ...] = (),
) -> Iterator[tuple[House, int]]:
    """Serve a stream on a free port of the loopback, as `play` does."""
    house = House(world, folder, fps)
    door = open_door(Place(host="127.0.0.1", port=0))
    house.open(Live(world))
    server = make_server(make_app(house, "127.0.0.1", token, root_path, allow_hosts))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    try:
        yield house, door.getsockname()[1]
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

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            inner_writer.write(
                _forwarded(head.decode("latin-1"), prefix, strip, host).encode("latin-1")
            )
            await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))

    async def serve() -> None:
        async with await asyncio.start_server(visit, "127.0.0.1", 0) as server:
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


def _forwarded(head: str, prefix: str, strip: bool, host: str | None) -> str:
    """Return the head of a request as a proxy sends it on; one request a connection,
    so that no other needs changing.
    """
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
