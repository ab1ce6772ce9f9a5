"""The page's server: what it serves, takes and refuses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.viewers import RecordingViewer, unpack_frame

from streamdit_gym import World
from streamdit_gym.checks import MAX_PROMPT_CHARS
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
    registry = SessionRegistry(world, tmp_path, 20.0)
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


def test_the_server_sends_page_frames_and_films_and_takes_commands(
    registry: SessionRegistry,
) -> None:
    with TestClient(make_app(registry, ServerAddress()), **LOCAL) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for name in ("app.js", "style.css"):
            assert client.get(f"/page/{name}").status_code == 200
            assert f"page/{name}" in page.text
        assert "http" not in page.text, "no asset from outside"
        with client.websocket_connect("ws://127.0.0.1/stream") as socket:
            hello = receive_message(socket, "hello")
            assert hello["menu"][3] == "move right"
            assert receive_frame(socket)[1][0].shape == (64, 64, 3)
            socket.send_json({"command": "prompt", "text": "move right", "id": 7})
            number = receive_message(socket, "prompt_applied")["number"]
            assert (
                receive_frame(socket, lambda h: h["number"] >= number)[0]["prompt"] == "move right"
            )
            socket.send_json({"command": "branch"})
            assert receive_message(socket, "branched")["name"] == "2"
            with client.websocket_connect("ws://127.0.0.1/stream?stream=2") as other:
                assert receive_message(other, "hello")["stream"] == "2"
                assert receive_frame(other)[0]["prompt"] == "move right"
            socket.send_json({"command": "record", "on": True})
            number = receive_frame(socket)[0]["number"]
            receive_frame(socket, lambda h: h["number"] > number + 8)
            socket.send_json({"command": "record", "on": False})
            film = client.get(f"/films/{receive_message(socket, 'recorded')['name']}")
            assert film.headers["content-type"] == "video/mp4"
            assert film.content[4:8] == b"ftyp"
        assert client.get("/films/..%2Fsecret.mp4").status_code == 404
        assert client.get("/films/none.mp4").status_code == 404
        assert client.get(f"/films/{'a' * 300}.mp4").status_code == 404
    assert not registry.sessions["1"].is_alive


def test_what_the_server_refuses(registry: SessionRegistry, world: World) -> None:
    with TestClient(make_app(registry, ServerAddress()), **LOCAL) as client:
        assert client.get("/", headers={"host": "evil.example"}).status_code == 400
        for address, headers, text in (
            ("ws://127.0.0.1/stream", {"origin": "http://evil.example"}, "foreign origin"),
            ("ws://127.0.0.1/stream", {"origin": "http://["}, "foreign origin"),
            ("ws://127.0.0.1/stream?stream=9", {}, "unknown stream"),
        ):
            with client.websocket_connect(address, headers=headers) as socket:
                assert text in refusal(socket)
        with client.websocket_connect(
            "ws://127.0.0.1/stream", headers={"origin": "http://127.0.0.1"}
        ) as socket:
            receive_message(socket, "hello")
            for message, problem in (
                ("{", "no command"),
                ('{"command": "format"}', "unknown command"),
                ('{"command": "prompt"}', "is missing"),
                ('{"command": "prompt", "text": 3}', "prompt cannot be used"),
                ('{"command": "configure", "speed": 3}', "unknown field"),
                ('{"command": "configure", "chunks": 99}', "chunks cannot be used"),
                ('{"command": "configure", "chunks": true}', "chunks cannot be used"),
                ('{"command": "configure", "prompt_scope": "all"}', "unknown prompt_scope"),
                (json.dumps({"command": "prompt", "text": "a" * 5000}), "too long"),
                (
                    json.dumps({"command": "prompt", "text": "é" * 3000}, ensure_ascii=False),
                    "too long",
                ),
                ("[" * 2000, "no command"),
            ):
                socket.send_text(message)
                assert problem in receive_message(socket, "error")["problem"], message
    for open_to_all in (
        ServerAddress(host="0.0.0.0"),
        ServerAddress(allow_hosts=("lab.example",)),
    ):
        with pytest.raises(StreamDiTError, match="without a token"):
            make_app(registry, open_to_all)
    registry = SessionRegistry(world, registry.film_folder, 20.0)
    registry.open(LiveStream(world))
    with TestClient(
        make_app(registry, ServerAddress(host="0.0.0.0"), "secret"), base_url="http://box.example"
    ) as client:
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
    text = "\N{GRINNING FACE}" * MAX_PROMPT_CHARS
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
