"""A stream that is steered while it runs: in Python, in a channel, through the server."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from streamdit_gym import World
from streamdit_gym.data.storage.storage import read_video
from streamdit_gym.errors import PartitionError, ShapeError, StreamDiTError
from streamdit_gym.live import Live, stream
from streamdit_gym.live.channel import Channel, Command
from streamdit_gym.live.commands import read_command
from streamdit_gym.live.lines import hear_lines
from streamdit_gym.live.play import play
from streamdit_gym.live.story import Narrator, read_story
from streamdit_gym.presets import partition
from streamdit_gym.stream.engine import Engine

TestClient = pytest.importorskip("starlette.testclient").TestClient
from streamdit_gym.live.server import House, Patience, Watcher, make_app  # noqa: E402  (needs what is skipped for)


@pytest.fixture(scope="module")
def world() -> World:
    return World.from_pretrained("PushT")


def pictures(live: Live, *said: str) -> np.ndarray:
    made = []
    for text in said:
        live.say(text)
        made += [shown.picture for shown in live.move()]
    return np.stack(made)


def test_a_stream_is_the_engine_with_text(world: World) -> None:
    live = Live(world, seed=3)
    said = ["move up", "move up", "move left", "stay"]
    rng = np.random.default_rng(3)
    start = world.starts.latents[int(rng.integers(len(world.starts.latents)))][None, None]
    engine = Engine(world.model, world.table, partition("reactive"))
    session = engine.start(start, torch.full((1, 1), -1), [torch.Generator().manual_seed(int(rng.integers(2**63)))])
    slow = np.concatenate([world.codec.decode(engine.tick(session, world.table.rows([text])))[0].numpy() for text in said])
    assert np.array_equal(pictures(live, *said), slow)
    assert live.number == 4


def test_frames_carry_the_prompt_they_were_born_with_and_the_buffer_shows_it(world: World) -> None:
    live = Live(world, partition="K4N3c1s1")
    assert [slot.done for slot in live.buffer()] == pytest.approx([2 / 3, 1 / 3])
    live.say("move up")
    first = live.move()[0]
    assert first.prompt == "stay"
    assert [slot.prompt for slot in live.buffer()] == ["stay", "move up"]
    assert live.delay == 2
    live.move()
    assert live.move()[0].prompt == "move up"
    live.set(scope="buffer")
    assert live.delay == 0
    live.say("move left")
    assert live.move()[0].prompt == "move left"


def test_a_soft_transition_goes_from_one_prompt_to_the_other(world: World) -> None:
    live = Live(world, transition=3)
    live.say("move up")
    told = [live.move()[0].prompt for _ in range(5)]
    assert [text.split(" of ")[0] for text in told[:3]] == ["0.250", "0.500", "0.750"]
    assert told[3:] == ["move up", "move up"]
    table = live.table
    row = table.between("stay", "move up", 0.25)
    a, b = table.rows(["stay", "move up"]).tolist()
    assert torch.allclose(table.pooled[row], 0.75 * table.pooled[a] + 0.25 * table.pooled[b])
    assert table.between("stay", "move up", 0.25) == row
    assert len(world.table.phrases) < len(table.phrases), "what is said in a stream is not kept in the world"


def test_saving_and_restoring_brings_the_same_frames_back_with_the_twin(world: World) -> None:
    live = Live(world, twin=True, partition="pipelined")
    pictures(live, *["move left"] * 6)
    state = live.state()

    def go_on(stream: Live) -> list[Any]:
        stream.say("move down")
        return [shown for _ in range(5) for shown in stream.move()]

    branch = live.branch()
    first, other = go_on(live), go_on(branch)
    live.set(partition="reactive", scope="buffer", transition=2)
    go_on(live)
    live.restore(state)
    again = go_on(live)
    for shown in (other, again):
        for a, b in zip(first, shown, strict=True):
            assert np.array_equal(a.picture, b.picture)
            assert a.twin is not None
            assert b.twin is not None
            assert np.array_equal(a.twin, b.twin)
            assert (a.number, a.prompt, a.scores) == (b.number, b.prompt, b.scores)
    assert live.partition == partition("pipelined")
    live.close()
    branch.close()


def test_the_twin_begins_where_the_stream_begins_and_takes_free_text_for_the_nearest_phrase(world: World) -> None:
    pytest.importorskip("transformers")
    live = Live(world, twin=True, seed=5)
    shown = live.move()[0]
    assert shown.twin is not None
    assert np.abs(shown.twin.astype(int) - shown.picture).mean() < 6
    live.say("scoot over to the right")
    assert live.move()[0].understood == "move right"
    means = ["up and to the left", "toward the bottom", "don't go anywhere", "scoot left"]
    assert [live.menu[live.understood(text)] for text in means] == ["move up left", "move down", "stay", "move left"]
    live.begin(5, np.full((64, 64, 3), 255, np.uint8))
    assert live.move()[0].twin is None, "a simulator cannot begin from a picture"


def test_a_moment_before_the_table_was_cleared_comes_back(world: World) -> None:
    live, other = Live(world), Live(world)
    before = live.state()
    live.table._most = len(live.table.phrases) + 33
    for i in range(2):  # rows that the table of the saved moment does not have
        live.table.between("move up", "move left", 0.1 * (i + 1))
    live.say("move left")
    assert live.table is not before["table"]
    live.move()
    live.restore(before)
    frames = [pictures(each, "move up", "stay").astype(int) for each in (live, other)]
    assert np.abs(frames[0] - frames[1]).max() <= 2
    live.table = other.table.only(["stay", "move up"])
    live.prompt = "move up"
    live._session.reference_prompts.fill_(-1)
    live._restart(live._make_engine(live.partition, live.scope))
    small = live.state()
    other.say("move down left")
    other.move()
    other.restore(small)
    assert np.array_equal(pictures(other, "move up", "stay"), pictures(live, "move up", "stay"))


def test_the_twin_of_a_long_stream_comes_back_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamdit_gym.envs import pusht

    monkeypatch.setattr(pusht, "LONGEST_REPLAY", 6)
    live = Live(world, twin=True)
    pictures(live, *["move left"] * 9, *["move up"] * 9)
    state = live.state()
    assert state["simulator"][1] == [], "nothing to play again"
    first = [shown.twin for _ in range(4) for shown in live.move()]
    live.begin(9)
    live.restore(state)
    assert np.array_equal([shown.twin for _ in range(4) for shown in live.move()], first)
    live.close()


def test_a_new_partition_goes_on_from_the_same_frames(world: World) -> None:
    live = Live(world)
    before = pictures(live, *["move up"] * 4)[-1].astype(int)
    live.set(partition="K4N2c1s2")
    after = pictures(live, "stay")[0].astype(int)
    assert np.abs(after - before).mean() < 4


def test_a_full_table_forgets_what_is_out_of_use_and_the_stream_goes_on(world: World) -> None:
    live, other = Live(world), Live(world)
    live.table._most = len(live.table.phrases) + 34
    for stream_of, shares in ((live, 3), (other, 0)):
        stream_of.say("move up")
        stream_of.move()
        for i in range(shares):
            stream_of.table.between("move up", "move left", 0.1 * (i + 1))
    frames = [pictures(each, "move left", "move left") for each in (live, other)]
    assert len(live.table.phrases) < len(world.table.phrases) + 3
    assert np.abs(frames[0].astype(int) - frames[1]).max() <= 2
    assert live.prompt == "move left"


def test_the_generator_asks_for_the_newest_prompt_before_each_chunk(world: World) -> None:
    newest = "move up"
    frames = stream(world, lambda: newest, seed=1)
    assert next(frames).prompt == "move up"
    newest = "move down"
    assert next(frames).prompt == "move down"
    frames.close()
    assert [shown.prompt for shown in stream(world, ["move up", "move left"])] == ["move up", "move left"]


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (lambda live: live.say("  "), ShapeError, "1 to 200"),
        (lambda live: live.say("a" * 201), ShapeError, "1 to 200"),
        (lambda live: live.set(partition="K9N1c1s1"), PartitionError, "1 to 4"),
        (lambda live: live.set(scope="frame"), ShapeError, "chunk, buffer"),
        (lambda live: live.set(transition=99), ShapeError, "0 to 32"),
        (lambda live: live.begin(start=np.zeros((32, 32, 3), np.uint8)), ShapeError, "resize"),
    ],
)
def test_bad_settings_change_nothing(wrong: Callable[[Live], None], kind: type[Exception], said: str, world: World) -> None:
    live, other = Live(world), Live(world)
    with pytest.raises(kind, match=said):
        wrong(live)
    assert np.array_equal(pictures(live, "move up", "move up"), pictures(other, "move up", "move up"))


# ---- stories ----


def test_a_story_is_said_on_time_and_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "story.jsonl"
    path.write_text('{"at": 2, "say": "move left"}\n\n{"at": 0.5, "say": "move up"}\n{"at": 0.6, "say": "move down"}\n')
    narrator = Narrator(read_story(path))
    assert [narrator.due(t) for t in (0, 0.5, 0.5, 1, 3, 4)] == [None, "move up", None, "move down", "move left", None]
    path.write_text('{"at": 1, "say": "move up"}\n{"at": -1, "say": "x"}\n')
    with pytest.raises(StreamDiTError, match="line 2"):
        read_story(path)
    path.write_text(json.dumps({"at": 1, "say": "up " * 80}))
    with pytest.raises(StreamDiTError, match="200 characters"):
        read_story(path)
    path.write_text("\n")
    with pytest.raises(StreamDiTError, match="nothing is said"):
        read_story(path)
    with pytest.raises(StreamDiTError, match="cannot be read"):
        read_story(tmp_path / "none.jsonl")


def told(**changes: Any) -> dict[str, Any]:
    settings = {
        "twin": False, "fps": None, "window": False, "script": None, "film": None, "seconds": None, "host": "127.0.0.1", "port": 0,
        "browser": False, "out": Path("runs/play"),
    }  # fmt: skip
    return {**settings, **changes}


def test_a_film_of_a_story(world: World, tmp_path: Path) -> None:
    script, film = tmp_path / "story.jsonl", tmp_path / "films" / "film.mp4"
    script.write_text('{"at": 0.5, "say": "move up"}\n')
    play(world, **told(twin=True, script=str(script), film=film, seconds=1.0))
    frames = read_video(film)
    assert frames.shape == (10, 432, 648, 3)
    assert np.abs(frames[4][-40:].astype(int) - frames[6][-40:]).max() > 50, "the caption changes with the prompt"
    assert [path.name for path in film.parent.iterdir()] == ["film.mp4"]
    with pytest.raises(StreamDiTError, match="needs a script"):
        play(world, **told(film=film))
    with pytest.raises(StreamDiTError, match="length out of range"):
        play(world, **told(film=film, script=str(script), seconds=-1.0))
    script.write_text('{"at": Infinity, "say": "move up"}\n')
    with pytest.raises(StreamDiTError, match="length out of range"):
        play(world, **told(film=film, script=str(script)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"film": Path("f.mp4"), "window": True, "script": "s"}, "not both"),
        ({"film": Path("f.mp4"), "script": "-"}, "needs a script"),
        ({"seconds": 3.0}, "only a film"),
        ({"fps": 0.5}, "1 to 240"),
        ({"fps": float("nan")}, "to 240"),
        ({"port": 70000}, "65535"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], said: str, world: World) -> None:
    with pytest.raises(StreamDiTError, match=said):
        play(world, **told(**changes))


def test_a_window_without_a_screen_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StreamDiTError, match="no display"):
        play(world, **told(window=True))


def test_keys_steer_the_window(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = iter([-1, ord("e"), -1, ord("r"), ord("3"), -1, ord("."), ord("?"), 27])
    monkeypatch.setattr("sys.stdin", io.StringIO("move down\n"))
    shown: list[tuple[int, ...]] = []
    posted: list[str] = []
    post = Channel.post

    def press(_ms: int) -> int:
        time.sleep(0.2)
        return next(keys)

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "imshow", lambda _title, picture: shown.append(picture.shape))
    monkeypatch.setattr(cv2, "waitKey", press)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda _title, _what: 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    monkeypatch.setattr(Channel, "post", lambda self, c: (posted.append(str(c.given.get("text", c.do))), post(self, c))[1])
    play(world, **told(window=True, script="-", fps=20.0, out=tmp_path))
    assert posted == ["move down", "move up right", "record", "move up right", "step"]
    assert shown[0] == (432, 320, 3)
    assert len(list(tmp_path.glob("*.mp4"))) == 1, "the film is finished when the window is closed"


# ---- the channel ----


class Seat:
    """A viewer that remembers."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, dict[str, Any], list[np.ndarray]]] = []
        self.messages: list[dict[str, Any]] = []

    def show(self, packed: bytes) -> None:
        self.frames.append((time.monotonic(), *unpack(packed)))

    def tell(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def wait(self, what: Callable[[Seat], Any], seconds: float = 10.0) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = what(self)
            if found:
                return found
            time.sleep(0.005)
        raise AssertionError(f"nothing after {seconds} s; messages {self.messages[-3:]}")


def unpack(packed: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    length = struct.unpack(">I", packed[:4])[0]
    header = json.loads(packed[4 : 4 + length])
    start, found = 4 + length, []
    for size in header["sizes"]:
        found.append(cv2.imdecode(np.frombuffer(packed[start : start + size], np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
        start += size
    assert start == len(packed)
    return header, found


@pytest.fixture
def channel(world: World, tmp_path: Path) -> Iterator[tuple[Channel, Seat]]:
    made, seat = Channel(Live(world), 20.0, threading.Lock(), tmp_path), Seat()
    made.enter(seat)
    made.start()
    yield made, seat
    made.stop()
    assert not made.alive


def send(channel: Channel, seat: Seat, do: str, **given: Any) -> None:
    channel.post(Command(do=do, given=given, viewer=seat))


def test_a_channel_keeps_its_pace_and_a_new_prompt_does_not_wait(channel: tuple[Channel, Seat]) -> None:
    made, seat = channel
    send(made, seat, "set", fps=4.0)
    seat.wait(lambda s: s.messages)
    time.sleep(1.6)
    assert 4 <= sum(at > seat.frames[-1][0] - 1.3 for at, _, _ in seat.frames) <= 7
    for i, text in enumerate(["move up", "move left"]):
        time.sleep(0.08)
        send(made, seat, "say", text=text, id=i)
        told = seat.wait(lambda s, i=i: next((m for m in s.messages if m.get("id") == i), None))
        assert told["ms"] < 220, "the frame that obeys comes before its time, a quarter of a second later"
        assert seat.wait(lambda s, n=told["number"]: next((h for _, h, _ in s.frames if h["number"] == n), None))["prompt"] == text
    assert [header["number"] for _, header, _ in seat.frames] == list(range(1, len(seat.frames) + 1))


def test_pause_step_save_and_go_back(channel: tuple[Channel, Seat]) -> None:
    made, seat = channel
    send(made, seat, "pause", on=True)
    seat.wait(lambda s: any(m.get("paused") for m in s.messages))
    time.sleep(0.2)
    count = len(seat.frames)
    time.sleep(0.3)
    assert len(seat.frames) == count
    send(made, seat, "save")
    saved = seat.wait(lambda s: s.messages[-1].get("saved"))
    for _ in range(3):
        send(made, seat, "say", text="move up")
        send(made, seat, "step")
        time.sleep(0.15)
    assert len(seat.frames) == count + 3
    send(made, seat, "restore", name=saved[0])
    send(made, seat, "step")
    seat.wait(lambda s: len(s.frames) == count + 4)
    number = saved[0].split()[-1]
    assert seat.frames[-1][1]["number"] == int(number) + 1
    send(made, seat, "restore", name="none")
    seat.wait(lambda s: s.messages[-1]["kind"] == "error")
    assert seat.messages[-1]["problem"] == "no such saved state"
    send(made, seat, "branch")
    seat.wait(lambda s: s.messages[-1].get("problem") == "streams cannot branch here")


def test_rewinding_goes_back_in_time_and_a_film_is_what_was_shown(channel: tuple[Channel, Seat], tmp_path: Path) -> None:
    made, seat = channel
    send(made, seat, "record", on=True)
    seat.wait(lambda s: s.frames and s.frames[-1][1]["number"] >= 35)
    send(made, seat, "record", on=False)
    told = seat.wait(lambda s: next((m for m in s.messages if m["kind"] == "recorded"), None))
    assert len(read_video(tmp_path / told["name"])) == told["frames"] > 25
    before = seat.frames[-1][1]["number"]
    send(made, seat, "rewind", seconds=2.0)
    seat.wait(lambda s: s.frames[-1][1]["number"] < before)
    assert before - seat.frames[-1][1]["number"] in range(10, 32), "ten frames are a second of the stream"


def test_a_command_that_fails_does_not_end_the_stream(
    channel: tuple[Channel, Seat], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, seat = channel
    monkeypatch.setattr(Live, "say", lambda self, text: 1 / 0)
    send(made, seat, "say", text="move up")
    assert seat.wait(lambda s: next((m for m in s.messages if m["kind"] == "error"), None))["problem"] == "that failed"
    count = len(seat.frames)
    seat.wait(lambda s: len(s.frames) > count + 2)
    assert "a command failed: say" in caplog.text


def test_half_a_character_is_no_trouble(world: World) -> None:
    pytest.importorskip("transformers")
    live = Live(world)
    live.say("move up \ud800")
    assert live.move()[0].prompt == "move up ?"


def test_many_prompts_at_once_and_the_newest_wins(channel: tuple[Channel, Seat]) -> None:
    made, seat = channel
    with made._turn:  # the stream is busy
        for i in range(500):
            send(made, seat, "say", text=["move up", "move left"][i % 2], id=i)
    told = seat.wait(lambda s: next((m for m in s.messages if m.get("id") == 499), None))
    assert seat.wait(lambda s: s.frames[-1][1]["number"] >= told["number"])
    assert seat.frames[-1][1]["prompt"] == "move left"
    assert sum(m["kind"] == "obeyed" for m in seat.messages) < 5


def test_what_has_been_said_already_hurries_nobody(channel: tuple[Channel, Seat]) -> None:
    made, seat = channel
    send(made, seat, "set", fps=4.0)
    seat.wait(lambda s: s.messages)
    count = len(seat.frames)
    begun = time.monotonic()
    for i in range(40):
        send(made, seat, "say", text="stay", id=i)
        time.sleep(0.025)
    assert len(seat.frames) - count <= 4 * (time.monotonic() - begun) + 2, "four frames a second, however often it is said"
    made.paused = True
    for i in range(40):
        send(made, seat, "say", text="move up", id=100 + i)
    seat.wait(lambda s: made.live.prompt == "move up")
    assert len(made._said) <= 2


def test_a_full_table_ends_a_blend_and_not_the_stream(world: World) -> None:
    live = Live(world, transition=8)
    live.say("move up")
    live.table._most = len(live.table.phrases) + 2
    assert [shown.prompt.split(" of ")[0] for _ in range(4) for shown in live.move()] == ["0.111", "0.222", "move up", "move up"]


def test_a_new_start_keeps_the_prompt_in_all_of_the_buffer(world: World) -> None:
    live = Live(world, partition="pipelined")
    live.say("move left")
    live.begin(1)
    assert {slot.prompt for slot in live.buffer()} == {"move left"}


def test_what_repeats_is_done_once(channel: tuple[Channel, Seat]) -> None:
    made, seat = channel
    done: list[Command] = []
    made._do_rewind = done.append  # type: ignore[method-assign]
    branched: list[Command] = []
    made._do_branch = branched.append  # type: ignore[method-assign,assignment]
    with made._turn:
        time.sleep(0.2)  # the stream waits for its turn
        for i in range(3):
            send(made, seat, "rewind", seconds=2.0)
            send(made, seat, "branch")
            send(made, seat, "set", **({"fps": 30.0 + i} if i < 2 else {"transition": 3}))
    seat.wait(lambda s: made.live.transition == 3)
    assert made.fps == 31.0
    assert sum(c.given["seconds"] for c in done) == 6.0
    assert len(done) <= 2
    assert len(branched) <= 2


def test_a_film_that_fails_or_is_forgotten_ends_and_the_stream_goes_on(
    channel: tuple[Channel, Seat], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, seat = channel
    monkeypatch.setattr("streamdit_gym.live.channel.LONGEST_FILM", 5)
    send(made, seat, "record", on=True)
    told = seat.wait(lambda s: next((m for m in s.messages if m["kind"] == "recorded"), None))
    assert told["frames"] == 5 == len(read_video(tmp_path / told["name"]))
    monkeypatch.setattr("streamdit_gym.live.recording.VideoWriter.add", lambda *_: 1 / 0)
    send(made, seat, "record", on=True)
    assert "disk" in seat.wait(lambda s: next((m for m in s.messages if m["kind"] == "error"), None))["remedy"]
    count = len(seat.frames)
    seat.wait(lambda s: len(s.frames) > count + 3)
    assert not made.recording
    assert [path.name for path in tmp_path.iterdir()] == [told["name"]], "no part of a film stays"
    assert not seat.messages[-1]["recording"]


def test_a_stream_that_has_ended_says_so(channel: tuple[Channel, Seat], monkeypatch: pytest.MonkeyPatch) -> None:
    made, seat = channel
    monkeypatch.setattr(Live, "move", lambda self: 1 / 0)
    seat.wait(lambda s: any(m.get("ended") for m in s.messages))
    assert any(m.get("problem") == "the stream has ended" for m in seat.messages)
    made._thread.join()
    late = Seat()
    made.enter(late)
    send(made, late, "say", text="move up")
    assert late.messages[-1]["given"] == "division by zero"
    assert made.settings()["ended"]
    assert not made._commands


# ---- the server ----


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


def see(socket: Any, right: Callable[[dict[str, Any]], bool] = lambda h: True) -> tuple[dict[str, Any], list[np.ndarray]]:
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
        with client.websocket_connect("ws://127.0.0.1/talk", headers={"origin": "http://127.0.0.1"}) as socket:
            hear(socket, "hello")
            for message, problem in (
                ("{", "no command"),
                ('{"do": "format"}', "unknown command"),
                ('{"do": "say"}', "is missing"),
                ('{"do": "say", "text": 3}', "does not fit"),
                ('{"do": "set", "speed": 3}', "unknown field"),
                ('{"do": "set", "chunks": 99}', "does not fit"),
                ('{"do": "set", "chunks": true}', "does not fit"),
                ('{"do": "set", "scope": "all"}', "unknown scope"),
                (json.dumps({"do": "say", "text": "a" * 4000}), "too long"),
                (json.dumps({"do": "say", "text": "é" * 1500}, ensure_ascii=False), "too long"),
                ("[" * 2000, "no command"),
            ):
                socket.send_text(message)
                assert problem in hear(socket, "error")["problem"], message
    with pytest.raises(StreamDiTError, match="without a token"):
        make_app(house, "0.0.0.0")
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
    with TestClient(make_app(house), **LOCAL) as client, client.websocket_connect("ws://127.0.0.1/talk") as calm:
        see(calm)
        with client.websocket_connect("ws://127.0.0.1/talk") as wild:
            for _ in range(600):
                wild.send_text('{"do": "pause", "on": false}')
            assert "too many" in hear(wild, "error")["problem"]
            ends = (message for message in (wild.receive() for _ in range(2000)) if message["type"] == "websocket.close")
            assert next(ends)["code"] == 1008
        first = see(calm)[0]["number"]
        begun = time.monotonic()
        see(calm, lambda h: h["number"] >= first + 20)
        assert time.monotonic() - begun < 3, "20 frames at 20 a second"


def test_messages_of_standard_input_are_prompts(house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    seat = Seat()
    house.channels["1"].enter(seat)
    lines = b'move up\n\n\xff{"say": 1}\n{"say": null}\n{"say": "move left"}\n{"tell": 3}\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8"))
    hear_lines(house.channels["1"]).join()
    seat.wait(lambda s: s.frames and s.frames[-1][1]["prompt"] == "move left")
    assert "cannot read a line" in caplog.text
    house.close()


def test_a_port_that_is_taken_is_named(world: World) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StreamDiTError, match="--port"):
            play(world, **told(port=port))


def test_commands_are_read() -> None:
    command = read_command('{"do": "set", "fps": 30, "scope": "buffer"}', Seat())
    assert (command.do, command.given) == ("set", {"fps": 30, "scope": "buffer"})
