"""The page's server: what it gives, takes and refuses."""

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
from seats import Seat, unpack

from streamdit_gym import World
from streamdit_gym.checks import MAX_PROMPT_CHARS
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live import Live
from streamdit_gym.live.channel import told
from streamdit_gym.live.commands import FIELDS, read_command

TestClient = pytest.importorskip("starlette.testclient").TestClient
from streamdit_gym.live.server import House, Patience, Watcher, make_app  # noqa: E402  (needs what is skipped for)

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
    lambda do, fields: {**fields, "do": do},
    st.sampled_from(sorted(FIELDS)) | VALUES,
    st.dictionaries(NAMES, VALUES, max_size=3),
)


@pytest.fixture
def house(world: World, tmp_path: Path) -> House:
    made = House(world, tmp_path, 20.0)
    made.open(Live(world))
    return made


def hear(socket: Any, kind: str) -> dict[str, Any]:
    for _ in range(400):
        received = socket.receive()
        if received.get("text"):
            message: dict[str, Any] = json.loads(received["text"])
            if message["kind"] == kind:
                return message
    raise AssertionError(f"no {kind}")


def see(
    socket: Any, right: Callable[[dict[str, Any]], bool] = lambda h: True
) -> tuple[dict[str, Any], list[np.ndarray]]:
    for _ in range(400):
        received = socket.receive()
        if received.get("bytes"):
            header, found = unpack(received["bytes"])
            if right(header):
                return header, found
    raise AssertionError("no such frame")


def refusal(socket: Any) -> str:
    message = socket.receive()
    assert (message["type"], message["code"]) == ("websocket.close", 1008)
    return str(message["reason"])


LOCAL = {"base_url": "http://127.0.0.1"}


def test_a_branch_that_nobody_watches_makes_room(house: House, world: World) -> None:
    seat = Seat()
    names = [house.open(Live(world)) for _ in range(3)]
    house.channels["2"].enter(seat)
    ended = house.channels["3"]
    assert [*names, house.open(Live(world))] == ["2", "3", "4", "5"]
    assert sorted(house.channels) == ["1", "2", "4", "5"]
    ended._thread.join(10)
    assert not ended.alive
    for name in ("4", "5"):
        house.channels[name].enter(seat)
    with pytest.raises(StreamDiTError, match="too many streams"):
        house.open(Live(world))
    house.close()


def test_a_stream_that_stands_still_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamdit_gym.live.server.ALIVE_S", 0.05)
    heard: list[str] = []

    class Socket:
        async def send_text(self, text: str) -> None:
            heard.append(json.loads(text)["kind"])

    async def watch() -> None:
        watcher = Watcher()
        sending = asyncio.create_task(watcher.send(Socket()))  # type: ignore[arg-type]
        await asyncio.sleep(0.4)
        watcher.tell({"kind": "settings"})
        await asyncio.sleep(0.02)
        sending.cancel()

    asyncio.run(watch())
    assert heard[:2] == ["alive", "alive"]
    assert heard[-1] == "settings"


def test_what_costs_much_may_be_asked_for_less_often() -> None:
    patience = Patience()
    assert [patience.take(20) for _ in range(6)] == [True] * 5 + [False]
    patience = Patience()
    assert sum(patience.take() for _ in range(200)) in range(100, 110)


def test_the_server_gives_page_frames_and_films_and_takes_commands(house: House) -> None:
    with TestClient(make_app(house), **LOCAL) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for name in ("app.js", "style.css"):
            assert client.get(f"/page/{name}").status_code == 200
            assert f"page/{name}" in page.text
        assert "http" not in page.text, "no asset from outside"
        with client.websocket_connect("ws://127.0.0.1/talk") as socket:
            hello = hear(socket, "hello")
            assert hello["menu"][3] == "move right"
            assert see(socket)[1][0].shape == (64, 64, 3)
            socket.send_json({"do": "say", "text": "move right", "id": 7})
            number = hear(socket, "obeyed")["number"]
            assert see(socket, lambda h: h["number"] >= number)[0]["prompt"] == "move right"
            socket.send_json({"do": "branch"})
            assert hear(socket, "branched")["name"] == "2"
            with client.websocket_connect("ws://127.0.0.1/talk?stream=2") as other:
                assert hear(other, "hello")["stream"] == "2"
                assert see(other)[0]["prompt"] == "move right"
            socket.send_json({"do": "record", "on": True})
            number = see(socket)[0]["number"]
            see(socket, lambda h: h["number"] > number + 8)
            socket.send_json({"do": "record", "on": False})
            film = client.get(f"/films/{hear(socket, 'recorded')['name']}")
            assert film.headers["content-type"] == "video/mp4"
            assert film.content[4:8] == b"ftyp"
        assert client.get("/films/..%2Fsecret.mp4").status_code == 404
        assert client.get("/films/none.mp4").status_code == 404
        assert client.get(f"/films/{'a' * 300}.mp4").status_code == 404
    assert not house.channels["1"].alive


def test_what_the_server_refuses(house: House, world: World) -> None:
    with TestClient(make_app(house), **LOCAL) as client:
        assert client.get("/", headers={"host": "evil.example"}).status_code == 400
        for address, headers, said in (
            ("ws://127.0.0.1/talk", {"origin": "http://evil.example"}, "foreign origin"),
            ("ws://127.0.0.1/talk", {"origin": "http://["}, "foreign origin"),
            ("ws://127.0.0.1/talk?stream=9", {}, "unknown stream"),
        ):
            with client.websocket_connect(address, headers=headers) as socket:
                assert said in refusal(socket)
        with client.websocket_connect(
            "ws://127.0.0.1/talk", headers={"origin": "http://127.0.0.1"}
        ) as socket:
            hear(socket, "hello")
            for message, problem in (
                ("{", "no command"),
                ('{"do": "format"}', "unknown command"),
                ('{"do": "say"}', "is missing"),
                ('{"do": "say", "text": 3}', "prompt cannot be used"),
                ('{"do": "set", "speed": 3}', "unknown field"),
                ('{"do": "set", "chunks": 99}', "chunks cannot be used"),
                ('{"do": "set", "chunks": true}', "chunks cannot be used"),
                ('{"do": "set", "scope": "all"}', "unknown scope"),
                (json.dumps({"do": "say", "text": "a" * 5000}), "too long"),
                (json.dumps({"do": "say", "text": "é" * 3000}, ensure_ascii=False), "too long"),
                ("[" * 2000, "no command"),
            ):
                socket.send_text(message)
                assert problem in hear(socket, "error")["problem"], message
    for host, names in (("0.0.0.0", ()), ("127.0.0.1", ("lab.example",))):
        with pytest.raises(StreamDiTError, match="without a token"):
            make_app(house, host, allow_hosts=names)
    house = House(world, house.folder, 20.0)
    house.open(Live(world))
    with TestClient(make_app(house, "0.0.0.0", "secret"), base_url="http://box.example") as client:
        assert client.get("/").status_code == 403
        assert client.get("/?token=wrong").status_code == 403
        assert client.get("/?token=secret").status_code == 200
        with client.websocket_connect("ws://box.example/talk") as socket:
            assert "token" in refusal(socket)
        with client.websocket_connect("ws://box.example/talk?token=secret") as socket:
            hear(socket, "hello")


def test_a_flood_is_refused_and_slows_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamdit_gym.live.server.PATIENCE", 50)
    with (
        TestClient(make_app(house), **LOCAL) as client,
        client.websocket_connect("ws://127.0.0.1/talk") as calm,
    ):
        see(calm)
        with client.websocket_connect("ws://127.0.0.1/talk") as wild:
            for _ in range(600):
                wild.send_text('{"do": "pause", "on": false}')
            assert "too many" in hear(wild, "error")["problem"]
            ends = (
                message
                for message in (wild.receive() for _ in range(2000))
                if message["type"] == "websocket.close"
            )
            assert next(ends)["code"] == 1008
        first = see(calm)[0]["number"]
        begun = time.monotonic()
        see(calm, lambda h: h["number"] >= first + 20)
        assert time.monotonic() - begun < 3, "20 frames at 20 a second"


@given(st.one_of(st.text(), st.binary(), st.builds(json.dumps, MESSAGES)))
@settings(max_examples=300, deadline=None)
def test_a_message_is_a_command_or_a_clear_error(message: str | bytes) -> None:
    try:
        command = read_command(message, Seat())
    except StreamDiTError as error:
        json.dumps(told(error))
    else:
        assert command.do in FIELDS
        assert set(command.given) <= set(FIELDS[command.do])


def test_the_longest_prompt_fits_in_a_message() -> None:
    text = "\N{GRINNING FACE}" * MAX_PROMPT_CHARS
    assert (
        read_command(json.dumps({"do": "say", "text": text, "id": 2**53}), Seat()).given["text"]
        == text
    )


def test_commands_are_read() -> None:
    command = read_command('{"do": "set", "fps": 30, "scope": "buffer"}', Seat())
    assert (command.do, command.given) == ("set", {"fps": 30, "scope": "buffer"})
