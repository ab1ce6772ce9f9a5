"""The page's server: what it serves, takes and refuses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.viewers import RecordingViewer, unpack_frame

from streamdit_gym import World
from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live import LiveStream
from streamdit_gym.live.command_parser import FIELDS, parse_command
from streamdit_gym.live.rate_limiter import RateLimiter
from streamdit_gym.live.server_address import ServerAddress
from streamdit_gym.live.session_registry import SessionRegistry
from streamdit_gym.live.viewer_messages import error_message

TestClient = pytest.importorskip("starlette.testclient").TestClient
from streamdit_gym.live.viewer_connection import ViewerConnection  # noqa: E402
from streamdit_gym.live.web_app import make_app  # noqa: E402

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted({name for fields in FIELDS.values() for name in fields})) | st.text(
    max_size=5
)
MESSAGES = st.builds(
    lambda name, fields: {**fields, "command": name},
    st.sampled_from(sorted(FIELDS)) | VALUES,
    st.dictionaries(NAMES, VALUES, max_size=3),
)


@pytest.fixture
def registry(world: World, tmp_path: Path) -> SessionRegistry:
    registry = SessionRegistry(tmp_path, 20.0)
    registry.open(LiveStream(world))
    return registry


def receive_message(socket: Any, kind: str) -> dict[str, Any]:
    for _ in range(400):
        received = socket.receive()
        if received.get("text"):
            message: dict[str, Any] = json.loads(received["text"])
            if message["kind"] == kind:
                return message
    raise AssertionError(f"no {kind}")


def receive_frame(
    socket: Any, condition: Callable[[dict[str, Any]], bool] = lambda h: True
) -> tuple[dict[str, Any], list[np.ndarray]]:
    for _ in range(400):
        received = socket.receive()
        if received.get("bytes"):
            header, images = unpack_frame(received["bytes"])
            if condition(header):
                return header, images
    raise AssertionError("no such frame")


def refusal(socket: Any) -> str:
    message = socket.receive()
    assert (message["type"], message["code"]) == ("websocket.close", 1008)
    return str(message["reason"])


LOCAL = {"base_url": "http://127.0.0.1"}
STREAM = "ws://127.0.0.1/stream"


def test_an_unwatched_branch_gives_way_to_a_new_one(
    registry: SessionRegistry, world: World
) -> None:
    viewer = RecordingViewer()
    names = [registry.open(LiveStream(world)) for _ in range(3)]
    registry.sessions["2"].add_viewer(viewer)
    ended = registry.sessions["3"]
    assert [*names, registry.open(LiveStream(world))] == ["2", "3", "4", "5"]
    assert sorted(registry.sessions) == ["1", "2", "4", "5"]
    ended._thread.join(10)
    assert not ended.is_alive
    for name in ("4", "5"):
        registry.sessions[name].add_viewer(viewer)
    with pytest.raises(StreamDiTError, match="too many streams"):
        registry.open(LiveStream(world))
    registry.close()


def test_a_still_stream_sends_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamdit_gym.live.viewer_connection.HEARTBEAT_S", 0.05)
    kinds: list[str] = []

    class Socket:
        async def send_text(self, text: str) -> None:
            kinds.append(json.loads(text)["kind"])

    async def run() -> None:
        connection = ViewerConnection()
        sender = asyncio.create_task(connection.run_sender(Socket()))  # type: ignore[arg-type]
        await asyncio.sleep(0.4)
        connection.send_message({"kind": "settings"})
        await asyncio.sleep(0.02)
        sender.cancel()

    asyncio.run(run())
    assert kinds[:2] == ["heartbeat", "heartbeat"]
    assert kinds[-1] == "settings"


def test_expensive_commands_are_limited_more() -> None:
    limiter = RateLimiter()
    assert [limiter.allow(20) for _ in range(6)] == [True] * 5 + [False]
    limiter = RateLimiter()
    assert sum(limiter.allow() for _ in range(200)) in range(100, 110)


@pytest.fixture
def client(registry: SessionRegistry) -> Iterator[Any]:
    with TestClient(make_app(registry, ServerAddress()), **LOCAL) as client:
        yield client


def test_the_page_is_served_whole_and_closes_its_sessions(registry: SessionRegistry) -> None:
    with TestClient(make_app(registry, ServerAddress()), **LOCAL) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for name in ("app.js", "style.css"):
            assert client.get(f"/page/{name}").status_code == 200
            assert f"page/{name}" in page.text
        assert "http" not in page.text, "no asset from outside"
    assert not registry.sessions["1"].is_alive


def test_a_viewer_receives_frames_and_steers(client: Any) -> None:
    with client.websocket_connect(STREAM) as socket:
        hello = receive_message(socket, "hello")
        assert hello["menu"][3] == "move right"
        _, images = receive_frame(socket)
        assert images[0].shape == (64, 64, 3)
        socket.send_json({"command": "prompt", "text": "move right", "id": 7})
        first = receive_message(socket, "prompt_applied")["number"]
        header, _ = receive_frame(socket, lambda header: header["number"] >= first)
        assert header["prompt"] == "move right"


def test_a_branch_is_a_stream_of_its_own(client: Any) -> None:
    with client.websocket_connect(STREAM) as socket:
        receive_message(socket, "hello")
        socket.send_json({"command": "branch"})
        assert receive_message(socket, "branched")["name"] == "2"
        with client.websocket_connect(f"{STREAM}?stream=2") as other:
            assert receive_message(other, "hello")["stream"] == "2"
            assert receive_frame(other)[0]["prompt"] == "stay"


def test_a_viewer_opens_another_shipped_world(client: Any) -> None:
    with client.websocket_connect(STREAM) as socket:
        hello = receive_message(socket, "hello")
        assert {"PushT", "PushT-Continuous"} <= set(hello["worlds"])
        socket.send_json({"command": "open", "world": "PushT-Continuous"})
        name = receive_message(socket, "opened")["name"]
        with client.websocket_connect(f"{STREAM}?stream={name}") as other:
            hello = receive_message(other, "hello")
            assert hello["world"] == "PushT-Continuous"
            assert [dimension["name"] for dimension in hello["dimensions"]] == ["x", "y"]
            assert receive_message(other, "settings")["fps"] == 20.0, "the server's own"
            receive_frame(other)
            other.send_json({"command": "open", "world": "PushT-Continuous"})
            assert receive_message(other, "opened")["name"] == name, "it is there already"
        socket.send_json({"command": "open", "world": "../PushT"})
        assert "PushT-Looks" in receive_message(socket, "error")["allowed"]


def test_a_film_is_recorded_and_downloaded(client: Any) -> None:
    with client.websocket_connect(STREAM) as socket:
        socket.send_json({"command": "record", "on": True})
        header, _ = receive_frame(socket)
        receive_frame(socket, lambda later: later["number"] > header["number"] + 8)
        socket.send_json({"command": "record", "on": False})
        name = receive_message(socket, "recorded")["name"]
    film = client.get(f"/films/{name}")
    assert film.headers["content-type"] == "video/mp4"
    assert film.content[4:8] == b"ftyp"


@pytest.mark.parametrize("name", ["..%2Fsecret.mp4", "none.mp4", f"{'a' * 300}.mp4"])
def test_other_files_are_no_films(name: str, client: Any) -> None:
    assert client.get(f"/films/{name}").status_code == 404


def test_a_foreign_host_name_is_refused(client: Any) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("query", "origin", "reason"),
    [
        ("", "http://evil.example", "foreign origin"),
        ("", "http://[", "foreign origin"),
        ("?stream=9", "http://127.0.0.1", "unknown stream"),
    ],
)
def test_a_viewer_who_is_refused_is_told_why(
    query: str, origin: str, reason: str, client: Any
) -> None:
    with client.websocket_connect(f"{STREAM}{query}", headers={"origin": origin}) as socket:
        assert reason in refusal(socket)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("{", "no command"),
        ("[" * 2000, "no command"),
        ('{"command": "format"}', "unknown command"),
        ('{"command": "prompt"}', "is missing"),
        ('{"command": "prompt", "text": 3}', "prompt cannot be used"),
        ('{"command": "configure", "speed": 3}', "unknown field"),
        ('{"command": "configure", "chunks": 99}', "chunks cannot be used"),
        ('{"command": "configure", "chunks": true}', "chunks cannot be used"),
        ('{"command": "configure", "prompt_scope": "all"}', "unknown prompt_scope"),
        (json.dumps({"command": "prompt", "text": "a" * 20_000}), "too long"),
        (
            '{"command": "prompt", "text": "' + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 10_000,
            "too long",
        ),
    ],
    ids=range(11),
)
def test_a_bad_message_is_a_clear_error(message: str, problem: str) -> None:
    with pytest.raises(StreamDiTError, match=problem):
        parse_command(message, RecordingViewer())


@pytest.mark.parametrize(
    "address", [ServerAddress(host="0.0.0.0"), ServerAddress(allow_hosts=("lab.example",))]
)
def test_a_public_address_needs_a_token(address: ServerAddress, registry: SessionRegistry) -> None:
    with pytest.raises(StreamDiTError, match="without a token"):
        make_app(registry, address)
    registry.close()


def test_a_token_opens_page_and_stream(registry: SessionRegistry) -> None:
    app = make_app(registry, ServerAddress(host="0.0.0.0"), "secret")
    with TestClient(app, base_url="http://box.example") as client:
        assert client.get("/").status_code == 403
        assert client.get("/?token=wrong").status_code == 403
        assert client.get("/?token=secret").status_code == 200
        with client.websocket_connect("ws://box.example/stream") as socket:
            assert "token" in refusal(socket)
        with client.websocket_connect("ws://box.example/stream?token=secret") as socket:
            receive_message(socket, "hello")


def test_a_flood_is_refused_and_slows_nobody(
    registry: SessionRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamdit_gym.live.viewer_connection.MAX_REFUSED", 50)
    with (
        TestClient(make_app(registry, ServerAddress()), **LOCAL) as client,
        client.websocket_connect("ws://127.0.0.1/stream") as quiet,
    ):
        receive_frame(quiet)
        with client.websocket_connect("ws://127.0.0.1/stream") as noisy:
            for _ in range(600):
                noisy.send_text('{"command": "pause", "on": false}')
            assert "too many" in receive_message(noisy, "error")["problem"]
            ends = (
                message
                for message in (noisy.receive() for _ in range(2000))
                if message["type"] == "websocket.close"
            )
            assert next(ends)["code"] == 1008
        first = receive_frame(quiet)[0]["number"]
        started_at = time.monotonic()
        receive_frame(quiet, lambda h: h["number"] >= first + 20)
        assert time.monotonic() - started_at < 3, "20 frames at 20 a second"


@given(st.one_of(st.text(), st.binary(), st.builds(json.dumps, MESSAGES)))
@settings(max_examples=300, deadline=None)
def test_a_message_is_a_command_or_a_clear_error(message: str | bytes) -> None:
    try:
        command = parse_command(message, RecordingViewer())
    except StreamDiTError as error:
        json.dumps(error_message(error))
    else:
        assert command.name in FIELDS
        assert set(command.arguments) <= set(FIELDS[command.name])


def test_the_longest_prompt_fits_in_a_message() -> None:
    text = "\N{GRINNING FACE}" * MAX_LONG_PROMPT_CHARS
    assert (
        parse_command(
            json.dumps({"command": "prompt", "text": text, "id": 2**53}), RecordingViewer()
        ).arguments["text"]
        == text
    )


def test_commands_are_read() -> None:
    command = parse_command(
        '{"command": "configure", "fps": 30, "prompt_scope": "buffer"}', RecordingViewer()
    )
    assert (command.name, command.arguments) == ("configure", {"fps": 30, "prompt_scope": "buffer"})
