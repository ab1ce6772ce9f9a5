"""A live session: a stream in a thread of its own, and what its viewers may ask for."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.viewers import RecordingViewer

from streamdit_gym import World
from streamdit_gym.data.video import read_video
from streamdit_gym.live import LiveStream
from streamdit_gym.live.command_parser import FIELDS
from streamdit_gym.live.command_queue import MAX_PENDING_STEPS, Command, CommandQueue
from streamdit_gym.live.live_session import LiveSession
from streamdit_gym.live.stdin_prompts import read_prompts_from_stdin
from streamdit_gym.live.stream_controller import SessionOptions


class Setup:
    """A running session, one viewer, and how the viewer sends."""

    def __init__(self, world: World, folder: Path) -> None:
        self.model_lock = threading.Lock()
        options = SessionOptions(fps=20.0, film_folder=folder, model_lock=self.model_lock)
        self.session = LiveSession(LiveStream(world), options)
        self.viewer = RecordingViewer()
        self.session.add_viewer(self.viewer)
        self.session.start()

    def send(self, command: str, /, **arguments: Any) -> None:
        self.session.post(Command(name=command, arguments=arguments, viewer=self.viewer))

    def pause(self) -> None:
        self.send("pause", on=True)
        self.viewer.wait_for_message(paused=True)
        time.sleep(0.2)

    @property
    def number(self) -> int:
        return self.viewer.frames[-1].number


@pytest.fixture
def setup(world: World, tmp_path: Path) -> Iterator[Setup]:
    running = Setup(world, tmp_path)
    yield running
    running.session.stop()
    assert not running.session.is_alive


def test_a_session_keeps_its_pace(setup: Setup) -> None:
    viewer = setup.viewer
    setup.send("configure", fps=4.0)
    viewer.wait_for_message(fps=4.0)
    time.sleep(1.6)
    newest = viewer.frames[-1].time
    assert 4 <= sum(frame.time > newest - 1.3 for frame in viewer.frames) <= 7
    numbers = [frame.number for frame in viewer.frames]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_new_prompt_does_not_wait_for_the_next_regular_step(setup: Setup) -> None:
    viewer = setup.viewer
    setup.send("configure", fps=4.0)
    viewer.wait_for_message(fps=4.0)
    time.sleep(0.5)
    for i, text in enumerate(["move up", "move left"]):
        time.sleep(0.08)
        setup.send("prompt", text=text, id=i)
        answer = viewer.wait_for_message(kind="prompt_applied", id=i)
        assert answer["ms"] < 220, "sooner than the next regular step, a quarter of a second later"
        viewer.wait_for(lambda n=answer["number"]: setup.number >= n)
        first = next(frame for frame in viewer.frames if frame.number == answer["number"])
        assert first.header["prompt"] == text


def test_pause_step_save_and_restore(setup: Setup) -> None:
    viewer = setup.viewer
    setup.pause()
    count = len(viewer.frames)
    time.sleep(0.3)
    assert len(viewer.frames) == count
    setup.send("save")
    saved = viewer.wait_for(lambda: viewer.messages[-1].get("saved"))
    for _ in range(3):
        setup.send("prompt", text="move up")
        setup.send("step")
        time.sleep(0.15)
    assert len(viewer.frames) == count + 3
    setup.send("restore", name=saved[0])
    setup.send("step")
    viewer.wait_for(lambda: len(viewer.frames) == count + 4)
    saved_at = int(saved[0].split()[-1])
    assert setup.number == saved_at + 1


def test_what_cannot_be_done_is_answered_to_the_viewer(setup: Setup) -> None:
    setup.send("restore", name="none")
    setup.viewer.wait_for_message(problem="no such saved state")
    setup.send("branch")
    setup.viewer.wait_for_message(problem="streams cannot branch here")


def test_rewinding_goes_back_in_time_and_a_film_is_what_was_shown(
    setup: Setup, tmp_path: Path
) -> None:
    viewer = setup.viewer
    setup.send("record", on=True)
    viewer.wait_for(lambda: viewer.frames and setup.number >= 35)
    setup.send("record", on=False)
    recorded = viewer.wait_for_message(kind="recorded")
    assert len(read_video(tmp_path / recorded["name"])) == recorded["frames"] > 25
    before = setup.number
    setup.send("rewind", seconds=2.0)
    viewer.wait_for(lambda: setup.number < before)
    assert before - setup.number in range(10, 32), "ten frames are a second of the stream"


def test_a_command_that_fails_does_not_end_the_stream(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(LiveStream, "set_prompt", lambda self, text: 1 / 0)
    setup.send("prompt", text="move up")
    setup.viewer.wait_for_message(problem="the command failed")
    setup.viewer.wait_for_frames(3)
    assert "a command failed: prompt" in caplog.text


def test_of_many_prompts_at_once_the_newest_applies(setup: Setup) -> None:
    viewer = setup.viewer
    with setup.model_lock:  # the stream is busy
        for i in range(500):
            setup.send("prompt", text=["move up", "move left"][i % 2], id=i)
    answer = viewer.wait_for_message(id=499)
    viewer.wait_for(lambda: setup.number >= answer["number"])
    assert viewer.frames[-1].header["prompt"] == "move left"
    assert sum(message["kind"] == "prompt_applied" for message in viewer.messages) < 5


def test_a_repeated_prompt_is_not_urgent(setup: Setup) -> None:
    viewer = setup.viewer
    setup.send("configure", fps=4.0)
    viewer.wait_for_message(fps=4.0)
    count = len(viewer.frames)
    started_at = time.monotonic()
    for i in range(40):
        setup.send("prompt", text="stay", id=i)
        time.sleep(0.025)
    elapsed = time.monotonic() - started_at
    assert len(viewer.frames) - count <= 4 * elapsed + 2, "four frames a second"


def test_prompts_to_a_paused_stream_do_not_pile_up(setup: Setup) -> None:
    setup.pause()
    for i in range(40):
        setup.send("prompt", text="move up", id=100 + i)
    setup.viewer.wait_for(lambda: setup.session.live.prompt == "move up")
    assert len(setup.session._controller._unanswered) <= 2


def test_a_queue_holds_one_command_of_each_kind_for_each_viewer() -> None:
    queue = CommandQueue()
    viewer = RecordingViewer()
    others = {"pause": {"on": True}, "record": {"on": True}, "prompt": {"text": "move up"}}
    others |= {"rewind": {"seconds": 0.1}, "restore": {"name": "x"}}
    for _ in range(300):
        for name in FIELDS:
            queue.add(Command(name=name, arguments=others.get(name, {}), viewer=viewer))
    assert len(queue) == len(FIELDS)


def test_waiting_commands_of_one_kind_become_one() -> None:
    queue = CommandQueue()
    for i in range(3):
        queue.add(Command(name="rewind", arguments={"seconds": 2.0}))
        queue.add(Command(name="step", arguments={"count": 3}))
        queue.add(Command(name="branch", arguments={}))
        queue.add(Command(name="prompt", arguments={"text": "move up", "id": i}))
    queue.add(Command(name="configure", arguments={"fps": 30.0}))
    queue.add(Command(name="configure", arguments={"transition": 3}))
    merged = {command.name: command.arguments for command in queue.take_all()}
    assert merged == {
        "rewind": {"seconds": 6.0},
        "step": {"count": MAX_PENDING_STEPS},
        "branch": {},
        "prompt": {"text": "move up", "id": 2},
        "configure": {"fps": 30.0, "transition": 3},
    }
    assert len(queue) == 0


def test_a_forgotten_film_ends_and_the_stream_goes_on(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("streamdit_gym.live.film_recorder.MAX_FILM_FRAMES", 5)
    setup.send("record", on=True)
    recorded = setup.viewer.wait_for_message(kind="recorded")
    assert recorded["frames"] == 5 == len(read_video(tmp_path / recorded["name"]))
    setup.viewer.wait_for_frames(3)
    assert not setup.session.is_recording


def test_a_film_that_fails_is_removed_and_the_stream_goes_on(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("streamdit_gym.live.film_recorder.VideoWriter.add", lambda *_: 1 / 0)
    setup.send("record", on=True)
    error = setup.viewer.wait_for_message(kind="error")
    assert "disk" in error["remedy"]
    setup.viewer.wait_for_frames(3)
    assert not setup.session.is_recording
    assert not setup.viewer.messages[-1]["recording"]
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_grows_too_large_ends_and_is_kept(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("streamdit_gym.live.film_recorder.MAX_FILM_BYTES", 1)
    setup.send("record", on=True)
    recorded = setup.viewer.wait_for_message(kind="recorded", seconds=20.0)
    assert len(read_video(tmp_path / recorded["name"])) == recorded["frames"]
    assert not setup.session.is_recording


@pytest.mark.parametrize(("limit", "value"), [("MAX_FILMS", 1), ("MAX_FOLDER_BYTES", 100)])
def test_in_a_full_folder_no_film_is_started(
    limit: str, value: int, setup: Setup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(f"streamdit_gym.live.film_recorder.{limit}", value)
    (tmp_path / "stream-1-old.mp4").write_bytes(b"x" * 100)
    setup.send("record", on=True)
    setup.viewer.wait_for_message(problem="no room for another film")
    assert not setup.session.is_recording
    assert [path.name for path in tmp_path.iterdir()] == ["stream-1-old.mp4"]


def test_a_stream_that_has_ended_says_so(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveStream, "step", lambda self: 1 / 0)
    setup.viewer.wait_for_message(ended=True)
    setup.viewer.wait_for_message(problem="the stream has ended")
    setup.session.stop()
    late = RecordingViewer()
    setup.session.add_viewer(late)
    setup.session.post(Command(name="prompt", arguments={"text": "move up"}, viewer=late))
    assert late.messages[-1]["given"] == "division by zero"
    assert setup.session.settings()["ended"]


def test_lines_of_standard_input_are_prompts(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [
        b"move up",
        b"",
        b"a" * 201,
        b'\xff{"prompt": 1}',
        b'{"prompt": null}',
        b'{"prompt": "move left"}',
        b'{"text": 3}',
    ]
    stdin = io.TextIOWrapper(io.BytesIO(b"\n".join(lines)), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stdin)
    read_prompts_from_stdin(setup.session).join()
    viewer = setup.viewer
    viewer.wait_for(lambda: viewer.frames and viewer.frames[-1].header["prompt"] == "move left")
    assert "cannot read a line" in caplog.text
    assert "1 to 200 printable characters" in caplog.text


def test_steps_are_bounded(setup: Setup) -> None:
    setup.pause()
    first = setup.number
    with setup.model_lock:  # the stream is busy
        for _ in range(500):
            setup.send("step")
    time.sleep(0.5)
    assert first < setup.number <= first + 2 * MAX_PENDING_STEPS


def test_steps_end_with_the_last_viewer(setup: Setup) -> None:
    setup.pause()
    with setup.model_lock:
        for _ in range(500):
            setup.send("step")
        setup.session.remove_viewer(setup.viewer)
    time.sleep(0.3)
    number = setup.session.live.frame_count
    time.sleep(0.3)
    assert setup.session.live.frame_count == number
