"""The page's server on the loopback: clients that hold connections, and proxies."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
connect = pytest.importorskip("websockets.sync.client").connect
from support.serving import proxying, serving  # noqa: E402  (needs what is skipped for)
from websockets.exceptions import ConnectionClosed  # noqa: E402

from streamdit_gym import World  # noqa: E402
from streamdit_gym.live import connection_limits as limits  # noqa: E402

HELD = 400
UPGRADE = (
    b"Host: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
INCOMPLETE_UPGRADE = b"Host: 127.0.0.1\r\nConnection: Upgrade\r\n"
HANDSHAKE = b"GET /stream HTTP/1.1\r\n" + UPGRADE + b"\r\n"


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition stayed false"
        time.sleep(0.02)


def watch(address: str, frames: int = 3, **settings: Any) -> float:
    """Watch until some frames have come; return how many seconds that took."""
    started_at = time.monotonic()
    with connect(address, open_timeout=5, **settings) as viewer:
        while frames:
            frames -= isinstance(viewer.recv(timeout=5), bytes)
    return time.monotonic() - started_at


def dial(port: int, *parts: bytes) -> socket.socket:
    held = socket.create_connection(("127.0.0.1", port), timeout=5)
    for part in parts:
        held.sendall(part)
    return held


def get(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def is_open(held: socket.socket) -> bool:
    held.setblocking(False)
    try:
        return held.recv(1 << 16) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.fixture
def served(tiny_world: World, tmp_path: Path) -> Iterator[tuple[Any, int]]:
    with serving(tiny_world, tmp_path) as running:
        yield running


@pytest.fixture
def held() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def test_a_viewer_gets_in_beside_400_silent_connections(
    served: tuple[Any, int],
    held: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT_S", 1.5)
    _, port = served
    halves = (
        (),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",),
        (b"GET /stream HTTP/1.1\r\nUpgrade: websocket\r\n",),
    )
    for i in range(HELD):
        held.append(dial(port, *halves[i % 3]))
    assert watch(f"ws://127.0.0.1:{port}/stream") < 2.0
    assert sum(map(is_open, held)) <= limits.MAX_IDLE
    wait_until(lambda: not any(map(is_open, held)), 5.0)
    assert len(caplog.text) < 1000


def test_a_request_that_arrives_byte_by_byte_is_cut_off(
    served: tuple[Any, int], held: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT_S", 0.5)
    _, port = served
    started_at = time.monotonic()
    held.append(dial(port, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"))
    held.append(dial(port, b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000\r\n\r\n"))
    with contextlib.suppress(OSError):
        while time.monotonic() - started_at < 5:
            for each in held:
                each.setblocking(True)
                each.sendall(b"x")
            time.sleep(0.05)
    assert time.monotonic() - started_at < 3
    wait_until(lambda: not any(map(is_open, held)), 3.0)


def test_a_viewer_watches_for_longer_than_a_request_may_take(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT_S", 0.3)
    with (
        serving(world, tmp_path) as (_, port),
        connect(f"ws://127.0.0.1:{port}/stream") as viewer,
    ):
        deadline = time.monotonic() + 0.9
        while time.monotonic() < deadline:
            viewer.recv(timeout=5)


def test_a_viewer_who_never_reads_is_disconnected_and_delays_nobody(
    tiny_world: World, tmp_path: Path, held: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_TIMEOUT_S", 0.5)
    with serving(tiny_world, tmp_path, fps=240.0) as (registry, port):
        unread = socket.socket()
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.connect(("127.0.0.1", port))
        unread.sendall(HANDSHAKE)
        held.append(unread)
        wait_until(lambda: registry.sessions["1"].num_viewers == 1)
        assert watch(f"ws://127.0.0.1:{port}/stream") < 2.0
        wait_until(lambda: registry.sessions["1"].num_viewers == 0)


def test_one_machine_may_not_hold_every_connection(
    served: tuple[Any, int], held: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "is_loopback", lambda address: False)
    monkeypatch.setattr(limits, "MAX_PER_ADDRESS", 3)
    _, port = served
    for _ in range(4):
        held.append(dial(port))
        time.sleep(0.05)
    wait_until(lambda: not is_open(held[3]))
    assert all(map(is_open, held[:3]))


def test_what_counts_as_this_machine() -> None:
    addresses = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", None, "x")
    assert [limits.is_loopback(each) for each in addresses] == [
        True,
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_garbage_ends_its_own_connection_and_leaves_no_traceback(
    served: tuple[Any, int], held: list[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    _, port = served
    garbage: list[tuple[bytes, ...]] = [
        (b"\x00" * 100,),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",),  # TLS
        (b"GET / HTTP/9.9\r\n\r\n",),
        (b"GET /" + b"a" * 100_000,),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",),
        (b"GET /%ff%00?token=%ff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",),
        (b"GET /films/%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",),
        (b"GET /page/%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",),
        (b"GET /page/../../../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nHost: [\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[\r\n\r\n",),
        (b"POST /stream HTTP/1.1\r\n" + UPGRADE + b"\r\n",),
        (b"POST /stream HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 5\r\n\r\nhello",),
        (b"GET /stream HTTP/1.1\r\n" + INCOMPLETE_UPGRADE + b"Upgrade: websocket\r\n\r\n",),
        (b"GET /stream HTTP/1.1\r\n" + INCOMPLETE_UPGRADE + b"Upgrade: h2c\r\n\r\n",),
        (b"GET /page/app.js HTTP/1.1\r\n" + UPGRADE + b"\r\n",),
        (b"GET /nowhere HTTP/1.1\r\n" + UPGRADE + b"\r\n",),
        (HANDSHAKE, b"\xff" * 50),
        (HANDSHAKE, b"\x81\x82\x00\x00\x00\x00\xff\xff"),  # text that is no UTF-8
        (
            HANDSHAKE,
            b"\x01\x80\x00\x00\x00\x00",
            b"\x00\x80\x00\x00\x00\x00" * 500,
        ),  # a message in endless pieces
        (
            HANDSHAKE,
            b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
        ),  # announces more bytes than there are
        (HANDSHAKE, b"\x88\x80\x00\x00\x00\x00" * 3),
    ]
    with caplog.at_level(logging.INFO):
        for parts in garbage:
            with contextlib.suppress(OSError):
                held.append(dial(port, *parts))
        time.sleep(0.5)
    assert watch(f"ws://127.0.0.1:{port}/stream") < 2.0
    assert "Traceback" not in caplog.text
    assert len(caplog.text) < 3000


def test_bad_messages_are_answered_to_their_sender_and_change_nothing(
    served: tuple[Any, int], caplog: pytest.LogCaptureFixture
) -> None:
    registry, port = served
    session = registry.sessions["1"]
    before = session.settings(), session.live.prompt
    messages: list[str | bytes] = [
        b'{"command": "step"}',
        b"",
        "",
        "null",
        "[]",
        "NaN",
        "[" * 4000,
        '{"command": NaN}',
        '{"command": ["prompt"]}',
        '{"command": "prompt", "text": ["x"]}',
        '{"command": "prompt", "text": "\\ud800"}',
        '{"command": "prompt", "text": "a\\u0000b"}',
        '{"command": "prompt", "text": "' + "a" * 201 + '"}',
        '{"command": "prompt", "text": "  "}',
        '{"command": "prompt", "text": "move up", "id": 1.5}',
        '{"command": "prompt", "text": "move up", "id": true}',
        '{"command": "configure", "fps": NaN}',
        '{"command": "configure", "fps": Infinity}',
        '{"command": "configure", "fps": 1e400}',
        '{"command": "configure", "fps": "30"}',
        '{"command": "configure", "chunks": ' + "9" * 3000 + "}",
        '{"command": "configure", "chunks": 2.0}',
        '{"command": "configure", "prompt_scope": {"a": 1}}',
        '{"command": "pause", "on": 1}',
        '{"command": "rewind", "seconds": -1}',
        '{"command": "restore", "name": ""}',
        '{"command": "restore", "name": 3}',
        '{"command": "reset", "seed": -1}',
        '{"command": "step", "count": 99}',
        '{"command": "__class__"}',
        '{"\\ud800": 1, "command": "step"}',
        "x" * 5000,
    ]
    with (
        connect(f"ws://127.0.0.1:{port}/stream") as quiet,
        connect(f"ws://127.0.0.1:{port}/stream") as noisy,
    ):
        for message in messages:
            noisy.send(message)
            assert _next(noisy, "error")["problem"], message
        messages_to_others = [received for received in _waiting(quiet) if isinstance(received, str)]
    assert not any(json.loads(text)["kind"] == "error" for text in messages_to_others)
    assert (session.settings(), session.live.prompt) == before
    assert "Traceback" not in caplog.text


def _next(viewer: Any, kind: str) -> dict[str, Any]:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        received = viewer.recv(timeout=5)
        if isinstance(received, str) and json.loads(received)["kind"] == kind:
            message: dict[str, Any] = json.loads(received)
            return message
    raise AssertionError(f"no {kind}")


def _waiting(viewer: Any) -> Iterator[str | bytes]:
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        yield viewer.recv(timeout=5)


@pytest.mark.parametrize(
    ("strip", "host"), [(True, None), (True, "127.0.0.1:8000"), (False, "lab.example")]
)
def test_behind_a_proxys_path(
    tiny_world: World, tmp_path: Path, strip: bool, host: str | None
) -> None:
    settings: dict[str, Any] = {
        "token": "secret",
        "root_path": "/lab",
        "allow_hosts": ("lab.example",),
    }
    with (
        serving(tiny_world, tmp_path, **settings) as (_, port),
        proxying(port, "/lab", strip, host) as outer,
    ):
        assert 'src="page/app.js"' in get(f"http://127.0.0.1:{outer}/lab/?token=secret")[1]
        assert "document.baseURI" in get(f"http://127.0.0.1:{outer}/lab/page/app.js")[1]
        origin = f"http://127.0.0.1:{outer}" if host is None else "https://lab.example"
        watch(f"ws://127.0.0.1:{outer}/lab/stream?token=secret", origin=origin)
        with pytest.raises(ConnectionClosed, match="foreign origin"):
            watch(f"ws://127.0.0.1:{outer}/lab/stream?token=secret", origin="https://evil.example")
        assert get(f"http://127.0.0.1:{outer}/lab/")[0] == 403


def test_a_proxys_path_without_its_last_slash_leads_to_the_page(
    tiny_world: World, tmp_path: Path
) -> None:
    with serving(tiny_world, tmp_path, root_path="/lab/") as (_, port):
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/lab?stream=1", timeout=5)
        with answer:
            assert (answer.status, answer.url) == (200, f"http://127.0.0.1:{port}/lab/?stream=1")


def test_the_log_repeats_nothing() -> None:
    throttle = limits.LogThrottle()
    records = [
        logging.LogRecord("asyncio", logging.ERROR, "", 0, f"{text}\nsocket: {i}", (), None)
        for i in range(5)
        for text in "ab"
    ]
    assert sum(map(throttle.filter, records)) == 2


def test_a_refused_handshake_gets_no_second_answer_when_the_server_ends() -> None:
    connection = limits.LimitedWebSocket.__new__(limits.LimitedWebSocket)
    connection.conn = SimpleNamespace(eof_sent=True)
    connection.transport = Mock()
    connection.shutdown()
    connection.transport.close.assert_called_once_with()
