"""A stream in a thread of its own, and what its viewers may ask for."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from seats import Seat

from streamdit_gym import World
from streamdit_gym.data.video import read_video
from streamdit_gym.live import Live
from streamdit_gym.live.channel import MAX_STEPS, Channel, Command
from streamdit_gym.live.commands import FIELDS
from streamdit_gym.live.lines import hear_lines


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


def test_a_channel_keeps_its_pace_and_a_new_prompt_does_not_wait(
    channel: tuple[Channel, Seat],
) -> None:
    made, seat = channel
    send(made, seat, "set", fps=4.0)
    seat.wait(lambda s: s.messages)
    time.sleep(1.6)
    assert 4 <= sum(at > seat.frames[-1][0] - 1.3 for at, _, _ in seat.frames) <= 7
    for i, text in enumerate(["move up", "move left"]):
        time.sleep(0.08)
        send(made, seat, "say", text=text, id=i)
        told = seat.wait(lambda s, i=i: next((m for m in s.messages if m.get("id") == i), None))
        assert told["ms"] < 220, (
            "the frame that obeys comes before its time, a quarter of a second later"
        )
        assert (
            seat.wait(
                lambda s, n=told["number"]: next(
                    (h for _, h, _ in s.frames if h["number"] == n), None
                )
            )["prompt"]
            == text
        )
    assert [header["number"] for _, header, _ in seat.frames] == list(
        range(1, len(seat.frames) + 1)
    )


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


def test_rewinding_goes_back_in_time_and_a_film_is_what_was_shown(
    channel: tuple[Channel, Seat], tmp_path: Path
) -> None:
    made, seat = channel
    send(made, seat, "record", on=True)
    seat.wait(lambda s: s.frames and s.frames[-1][1]["number"] >= 35)
    send(made, seat, "record", on=False)
    told = seat.wait(lambda s: next((m for m in s.messages if m["kind"] == "recorded"), None))
    assert len(read_video(tmp_path / told["name"])) == told["frames"] > 25
    before = seat.frames[-1][1]["number"]
    send(made, seat, "rewind", seconds=2.0)
    seat.wait(lambda s: s.frames[-1][1]["number"] < before)
    assert before - seat.frames[-1][1]["number"] in range(10, 32), (
        "ten frames are a second of the stream"
    )


def test_a_command_that_fails_does_not_end_the_stream(
    channel: tuple[Channel, Seat], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, seat = channel
    monkeypatch.setattr(Live, "say", lambda self, text: 1 / 0)
    send(made, seat, "say", text="move up")
    assert (
        seat.wait(lambda s: next((m for m in s.messages if m["kind"] == "error"), None))["problem"]
        == "that failed"
    )
    count = len(seat.frames)
    seat.wait(lambda s: len(s.frames) > count + 2)
    assert "a command failed: say" in caplog.text


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
    assert len(seat.frames) - count <= 4 * (time.monotonic() - begun) + 2, (
        "four frames a second, however often it is said"
    )
    made.paused = True
    for i in range(40):
        send(made, seat, "say", text="move up", id=100 + i)
    seat.wait(lambda s: made.live.prompt == "move up")
    assert len(made._said) <= 2


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
    assert (
        "disk"
        in seat.wait(lambda s: next((m for m in s.messages if m["kind"] == "error"), None))[
            "remedy"
        ]
    )
    count = len(seat.frames)
    seat.wait(lambda s: len(s.frames) > count + 3)
    assert not made.recording
    assert [path.name for path in tmp_path.iterdir()] == [told["name"]], "no part of a film stays"
    assert not seat.messages[-1]["recording"]


def test_a_stream_that_has_ended_says_so(
    channel: tuple[Channel, Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_messages_of_standard_input_are_prompts(
    channel: tuple[Channel, Seat], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, seat = channel
    lines = (
        b"move up\n\n"
        + b"a" * 201
        + b'\n\xff{"say": 1}\n{"say": null}\n{"say": "move left"}\n{"tell": 3}\n'
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8"))
    hear_lines(made).join()
    seat.wait(lambda s: s.frames and s.frames[-1][1]["prompt"] == "move left")
    assert "cannot read a line" in caplog.text
    assert "1 to 200 printable characters" in caplog.text


def test_steps_are_bounded_and_end_with_the_last_viewer(channel: tuple[Channel, Seat]) -> None:
    made, seat = channel
    send(made, seat, "pause", on=True)
    seat.wait(lambda s: any(m.get("paused") for m in s.messages))
    time.sleep(0.2)
    first = seat.frames[-1][1]["number"]
    with made._turn:  # the stream is busy
        for _ in range(500):
            send(made, seat, "step")
        assert len(made._commands) <= 2
    time.sleep(0.5)
    assert first < seat.frames[-1][1]["number"] <= first + 2 * MAX_STEPS
    with made._turn:
        for _ in range(500):
            send(made, seat, "step")
        made.leave(seat)
    time.sleep(0.3)
    number = made.live.number
    time.sleep(0.3)
    assert made.live.number == number, "nobody watches"
    assert made._steps == 0


def test_of_every_kind_one_command_waits(channel: tuple[Channel, Seat]) -> None:
    made, seat = channel
    given = {"say": {"text": "move up"}, "rewind": {"seconds": 0.1}, "restore": {"name": "x"}}
    kinds = [name for name in FIELDS if name != "branch"]
    with made._turn:
        time.sleep(0.2)  # the stream waits for its turn
        for i in range(300):
            for do in kinds:
                send(
                    made,
                    seat,
                    do,
                    **given.get(do, {"on": i % 2 == 1} if do in ("pause", "record") else {}),
                )
        assert len(made._commands) <= 2 * len(kinds)


@pytest.mark.parametrize(("limit", "value"), [("MAX_FILMS", 1), ("MAX_BYTES", 100)])
def test_where_there_are_enough_films_no_other_is_begun(
    limit: str,
    value: int,
    channel: tuple[Channel, Seat],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    made, seat = channel
    monkeypatch.setattr(f"streamdit_gym.live.recording.{limit}", value)
    (tmp_path / "stream-1-old.mp4").write_bytes(b"x" * 100)
    send(made, seat, "record", on=True)
    told = seat.wait(lambda s: next((m for m in s.messages if m["kind"] == "error"), None))
    assert told["problem"] == "no room for another film"
    assert not made.recording
    assert [path.name for path in tmp_path.iterdir()] == ["stream-1-old.mp4"]


def test_a_film_that_grows_too_large_ends_and_is_kept(
    channel: tuple[Channel, Seat], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, seat = channel
    monkeypatch.setattr("streamdit_gym.live.channel.MAX_FILM_BYTES", 1)
    send(made, seat, "record", on=True)
    told = seat.wait(lambda s: next((m for m in s.messages if m["kind"] == "recorded"), None), 20.0)
    assert len(read_video(tmp_path / told["name"])) == told["frames"]
    assert not made.recording
