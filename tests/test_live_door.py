"""The page's server under visitors that mean no good, and behind a proxy. Everything stays on the loopback."""

from __future__ import annotations

import http.client
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from seats import Seat

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live import Live
from streamdit_gym.live.channel import MAX_FILMS, MAX_STEPS, Channel, Command
from streamdit_gym.live.play import check_root_path, open_browser
from streamdit_gym.world import World

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
client = pytest.importorskip("websockets.sync.client")
from streamdit_gym.live import door  # noqa: E402  (needs what is skipped for)
from streamdit_gym.live.server import House, make_app  # noqa: E402


@contextmanager
def serving(world: World, folder: Path, **settings: Any) -> Iterator[int]:
    """Serve a stream of a world on the loopback and yield the port."""
    house = House(world, folder, 20.0)
    house.open(Live(world))
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    config = uvicorn.Config(
        make_app(house, **settings),
        http=door.guarded_protocol(),
        ws="websockets-sansio",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def get(port: int, path: str = "/", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def first_frame(port: int, path: str = "/talk", **headers: str) -> bytes:
    with client.connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers, open_timeout=10, close_timeout=1, proxy=None) as viewer:
        while True:
            message = viewer.recv(timeout=10)
            if isinstance(message, bytes):
                return message


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "], ids=["silent", "half a request"])
def test_a_viewer_gets_in_beside_400_connections_that_ask_for_nothing(tiny_world: World, tmp_path: Path, sent: bytes) -> None:
    with serving(tiny_world, tmp_path) as port, ExitStack() as stack:
        for _ in range(400):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            silent.sendall(sent)
        begin = time.monotonic()
        assert get(port)[0] == 200
        assert len(first_frame(port)) > 100
        assert time.monotonic() - begin < 5


def test_a_request_that_does_not_come_whole_is_given_up(tiny_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "REQUEST_TIMEOUT_S", 0.3)
    with serving(tiny_world, tmp_path) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        try:
            answer = slow.recv(100)
        except ConnectionError:
            answer = b""
        assert answer == b"", "the server hung up"
        assert first_frame(port)


def test_a_connection_that_is_kept_may_ask_again(tiny_world: World, tmp_path: Path) -> None:
    with serving(tiny_world, tmp_path) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(3):
            connection.request("GET", "/page/style.css")
            assert connection.getresponse().read()
        connection.close()


def test_equal_lines_of_the_log_are_rare() -> None:
    import logging

    record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, "Invalid HTTP request received.", (), None)
    rare = door.RareLines()
    assert [rare.filter(record) for _ in range(1000)].count(True) == 1


def test_steps_of_a_paused_stream_do_not_pile_up(tiny_world: World, tmp_path: Path) -> None:
    channel = Channel(Live(tiny_world), 2.0, threading.Lock(), tmp_path)
    seat = Seat()
    channel.paused = True
    for _ in range(200):
        channel._do_step(Command(do="step", given={}))
    assert channel._steps == MAX_STEPS
    channel.enter(seat)
    channel.post(Command(do="step", given={}, viewer=seat))
    channel.leave(seat)
    assert channel._steps == 0
    assert not channel._commands


def test_films_are_limited(tiny_world: World, tmp_path: Path) -> None:
    for number in range(MAX_FILMS):
        (tmp_path / f"stream-1-{number}.mp4").write_bytes(b"x")
    channel = Channel(Live(tiny_world), 20.0, threading.Lock(), tmp_path)
    with pytest.raises(StreamDiTError, match="too many films"):
        channel._do_record(Command(do="record", given={"on": True}))
    assert not channel.recording


def test_a_token_is_not_among_the_browsers_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def look(address: str) -> None:
        opened.append(address)
        if address.startswith("file:"):
            page = Path(address.removeprefix("file://"))
            assert stat.S_IMODE(page.stat().st_mode) == 0o600
            assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700
            assert "http://box/?token=secret" in page.read_text()

    monkeypatch.setattr("streamdit_gym.live.play.REDIRECT_S", 0.0)
    monkeypatch.setattr("webbrowser.open", look)
    open_browser("http://box/?token=secret", secret=True)
    open_browser("http://127.0.0.1:8000/", secret=False)
    assert "secret" not in opened[0]
    assert not Path(opened[0].removeprefix("file://")).exists()
    assert opened[1] == "http://127.0.0.1:8000/"


# ------------------------------------------------------------------------------------------------- behind a proxy


class Proxy:
    """A reverse proxy on the loopback that takes a path's beginning away, as nginx does with ``proxy_pass http://.../;``."""

    def __init__(self, port: int, prefix: str, *, strips: bool) -> None:
        self.target, self.prefix, self.strips = port, prefix.encode(), strips
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                visitor, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(visitor,), daemon=True).start()

    def _serve(self, visitor: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = visitor.recv(4096)
            if not part:
                return
            head += part
        if self.strips:
            head = head.replace(b" " + self.prefix + b"/", b" /", 1)
        head = re.sub(rb"(?im)^host: .*?\r$", b"Host: box.example\r", head)
        # one request a connection, so that each request's path is rewritten
        head = re.sub(rb"(?i)connection: keep-alive", b"Connection: close", head)
        server = socket.create_connection(("127.0.0.1", self.target))
        server.sendall(head)
        threading.Thread(target=self._copy, args=(visitor, server), daemon=True).start()
        self._copy(server, visitor)

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()


TOKEN = "secret"
BEHIND = {"token": TOKEN, "allowed_hosts": ("box.example",), "root_path": "/lab"}


@pytest.mark.parametrize("strips", [True, False])
def test_the_page_works_below_a_proxys_path(tiny_world: World, tmp_path: Path, strips: bool) -> None:
    with serving(tiny_world, tmp_path, **BEHIND) as port:
        proxy = Proxy(port, "/lab", strips=strips)
        assert get(proxy.port, f"/lab/?token={TOKEN}")[0] == 200
        assert get(proxy.port, "/lab/page/app.js")[0] == 200
        assert first_frame(proxy.port, f"/lab/talk?token={TOKEN}", Origin="https://box.example")
        proxy.listener.close()


def test_a_proxys_visitors_need_the_token_and_others_hosts_are_refused(tiny_world: World, tmp_path: Path) -> None:
    with pytest.raises(StreamDiTError, match="without a token"):
        make_app(House(tiny_world, tmp_path, 20.0), allowed_hosts=("box.example",))
    with serving(tiny_world, tmp_path, **BEHIND) as port:
        assert get(port, "/", Host="box.example")[0] == 403
        assert get(port, f"/?token={TOKEN}", Host="evil.example")[0] == 400
        assert get(port, f"/?token={TOKEN}", Host="box.example", Origin="https://evil.example")[0] == 403


@pytest.mark.parametrize("path", ["lab", "/lab/", "/", "/a//b", '/"x', "/a b", "/ü"])
def test_root_paths_that_are_none_are_refused(path: str) -> None:
    with pytest.raises(StreamDiTError, match="--root-path"):
        check_root_path(path)
    check_root_path("/lab/robots-1")
