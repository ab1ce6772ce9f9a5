"""`play` with an open model: sentences steer it, on the page and in a film."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_wan import TEXT_LENGTH, diffusers, embed, make_model, write_folder
from support.viewers import RecordingViewer

import streamdit_gym
from streamdit_gym.cli.main import main
from streamdit_gym.data.video import read_video
from streamdit_gym.errors import ArgumentError, PartitionError, StreamDiTError
from streamdit_gym.live import state_history, stream
from streamdit_gym.live.command_queue import Command
from streamdit_gym.live.frame_outlet import FrameOutlet
from streamdit_gym.live.frame_pacer import FrameRateMeter
from streamdit_gym.live.live_session import LiveSession
from streamdit_gym.live.live_stream import LiveStream
from streamdit_gym.live.open_live_stream import OpenLiveStream
from streamdit_gym.live.state_history import StateHistory
from streamdit_gym.live.stream_controller import SessionOptions
from streamdit_gym.live.stream_protocol import SteeredStream
from streamdit_gym.open_weights import load_open_model as loading
from streamdit_gym.open_weights import open_prompts
from streamdit_gym.open_weights.open_prompts import OpenPrompts
from streamdit_gym.open_weights.open_streams import OpenStreams
from streamdit_gym.world import World

SMALL = ["partition=K2N2c1s1", "clip_steps=2", "frame_size=32,48", "dtype=float32", "guidance=1"]


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model("K2N2c1s1")


def live_stream(model: Any, **settings: Any) -> OpenLiveStream:
    return OpenLiveStream(model, **{"prompt": "a cat runs", **settings})


def frames_of(live: OpenLiveStream, steps: int) -> torch.Tensor:
    frames = [frame for _ in range(steps) for frame in live.step()]
    return torch.stack([torch.from_numpy(frame.image) for frame in frames])


def test_worlds_and_open_models_are_streams_of_one_kind(model: Any, world: World) -> None:
    assert isinstance(live_stream(model), SteeredStream)
    assert isinstance(LiveStream(world), SteeredStream)


def test_the_clip_that_a_stream_begins_with_is_shown_a_chunk_at_a_step(model: Any) -> None:
    live = live_stream(model)
    steps = [live.step() for _ in range(4)]
    assert [len(frames) for frames in steps] == [1, 4, 4, 4]
    numbers = [frame.number for frames in steps for frame in frames]
    assert numbers == list(range(1, 14))
    streams = OpenStreams(model)
    expected = torch.cat([streams.start(["a cat runs"], [0]), streams.step(["a cat runs"])], 1)[0]
    images = [torch.from_numpy(frame.image) for frames in steps for frame in frames]
    assert torch.equal(torch.stack(images), expected)


@pytest.mark.parametrize(("scope", "late_frames"), [("chunk", 4), ("buffer", 0)])
def test_a_prompt_is_shown_as_late_as_the_stream_says(
    model: Any, scope: Any, late_frames: int
) -> None:
    live = live_stream(model, prompt_scope=scope)
    frames_of(live, 3)
    live.set_prompt("rain falls")
    assert live.prompt_delay * live.frames_per_step == late_frames
    prompts = [frame.prompt for _ in range(3) for frame in live.step()]
    assert prompts.index("rain falls") == late_frames
    assert live.buffer_slots()[0].prompt == "rain falls"
    assert live.buffer_slots()[0].progress == 0.5


def test_moments_come_back_and_branches_go_on_as_the_stream_would(model: Any) -> None:
    live = live_stream(model)
    frames_of(live, 2)
    start = live.save_state()
    branch = live.branch()
    live.set_prompt("fire burns")
    live.configure(prompt_scope="buffer")
    expected = frames_of(live, 4)
    assert branch.prompt == "a cat runs"
    assert branch.prompt_scope == "chunk"
    live.restore_state(start)
    assert torch.equal(frames_of(branch, 4), frames_of(live, 4))
    live.restore_state(start)
    live.set_prompt("fire burns")
    live.configure(prompt_scope="buffer")
    assert torch.equal(frames_of(live, 4), expected)
    assert start.num_bytes > 10 * 32 * 48 * 3, "the waiting frames at least"


def test_a_stream_that_is_not_finite_starts_anew(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    live = live_stream(model)
    frames_of(live, 3)
    with monkeypatch.context() as patch:
        patch.setattr(OpenStreams, "finite", lambda self: torch.tensor([False]))
        frames = live.step()
    assert frames[0].restarted
    assert frames[0].number == 10
    assert "it restarts" in caplog.text
    assert not [frame for _ in range(3) for frame in live.step()][-1].restarted


def test_what_cannot_change_is_told(model: Any) -> None:
    live = live_stream(model)
    with pytest.raises(PartitionError, match="stays as it was loaded"):
        live.configure(partition=type(live.partition).parse("K2N3c1s1"))
    with pytest.raises(ArgumentError, match="not mixed"):
        live.configure(transition=2)
    with pytest.raises(ArgumentError, match="1 to 1000"):
        live.set_prompt("a" * 1001)
    with pytest.raises(ArgumentError, match="longer than the model takes"):
        live.set_prompt("word " * (TEXT_LENGTH + 1))
    assert live.prompt == "a cat runs"
    assert live.description.fixed_settings == ("chunks", "micro_steps", "transition")


def test_frames_are_iterated_as_those_of_a_world(model: Any) -> None:
    frames = list(stream(model, ["a cat runs", "rain falls"], prompt="a cat runs"))
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5]


def test_an_open_model_is_no_world_and_the_error_says_what_to_call() -> None:
    with pytest.raises(ArgumentError, match=r"streamdit_gym\.load_open_model"):
        World.from_pretrained("wan:models/skyreels")
    assert streamdit_gym.load_open_model is loading.load_open_model
    assert streamdit_gym.OpenStreams is OpenStreams


@pytest.mark.parametrize("command", ["evaluate", "bench", "record", "relabel"])
def test_commands_that_need_a_world_say_so(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "wan:models/skyreels"]) == 2
    assert "an open video model is no world" in capsys.readouterr().err


def test_old_sentences_are_embedded_again_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_prompts, "MAX_EMBEDDED", 3)
    embedded: list[str] = []

    def encode(texts: Any) -> Any:
        embedded.extend(texts)
        return embed(texts)

    prompts = OpenPrompts(encode, TEXT_LENGTH, "idle")
    texts = [f"sentence {number}" for number in range(8)]
    rows = prompts.of_texts(texts)
    assert prompts.of_texts(texts).tolist() == rows.tolist()
    assert embedded == ["idle", *texts], "once each"
    tokens = prompts.conditioning(rows[None, :2]).tokens
    assert embedded[-2:] == texts[:2]
    assert torch.equal(tokens[0, :2], embed(texts[:1])[0])


def test_frames_of_a_chunk_are_shown_one_by_one_in_order() -> None:
    outlet = FrameOutlet()
    shown: list[int] = []
    all_shown = threading.Event()

    def show(number: int) -> Callable[[], None]:
        def append() -> None:
            shown.append(number)
            if number == 5:
                all_shown.set()

        return append

    outlet.show([show(0), show(1), show(2)], 1000.0)
    assert shown == [0]
    outlet.show([show(3), show(4), show(5)], 0.05)
    assert shown[:4] == [0, 1, 2, 3], "what waits goes first"
    assert all_shown.wait(5)
    assert shown == [0, 1, 2, 3, 4, 5]
    outlet.show([show(6), show(7)], 1000.0)
    outlet.drop()
    outlet.show([show(8)], 1000.0)
    outlet.close()
    assert shown[6:] == [6, 8]


def test_frames_that_wait_are_shown_at_once_where_nothing_is_to_move() -> None:
    outlet = FrameOutlet()
    shown: list[int] = []
    outlet.show([lambda number=number: shown.append(number) for number in range(3)], 1000.0)
    outlet.flush()
    assert shown == [0, 1, 2]
    outlet.close()


def test_a_frame_that_cannot_be_shown_does_not_hold_up_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outlet = FrameOutlet()
    is_shown = threading.Event()

    def fail() -> None:
        raise OSError("the disk is full")

    outlet.show([lambda: None, fail, is_shown.set], 0.05)
    assert is_shown.wait(5)
    outlet.close()
    assert "the disk is full" in caplog.text


def test_the_frame_rate_is_that_of_steps_however_long_they_take() -> None:
    meter = FrameRateMeter()
    assert meter.add(1, 0.0) == 0.0
    assert [meter.add(8, 5.0), meter.add(8, 9.0)] == [1.6, 2.0]
    assert meter.add(8, 9.5) == 16.0, "of the last two seconds"
    assert meter.add(8, 10.0) == 16.0


def test_a_session_streams_an_open_model(model: Any, tmp_path: Path) -> None:
    options = SessionOptions(fps=100.0, film_folder=tmp_path, model_lock=threading.Lock())
    session = LiveSession(live_stream(model), options)
    viewer = RecordingViewer()
    session.add_viewer(viewer)
    session.start()
    viewer.wait_for_frames(12)
    session.post(Command(name="prompt", arguments={"text": "rain falls", "id": 1}, viewer=viewer))
    answer = viewer.wait_for_message(kind="prompt_applied", id=1)
    viewer.wait_for(lambda: viewer.frames[-1].number >= answer["number"])
    first = next(frame for frame in viewer.frames if frame.number == answer["number"])
    assert first.header["prompt"] == "rain falls"
    session.post(Command(name="configure", arguments={"chunks": 3}, viewer=viewer))
    viewer.wait_for_message(problem="the buffer of an open model stays as it was loaded")
    session.stop()
    numbers = [frame.number for frame in viewer.frames]
    assert numbers == list(range(1, len(numbers) + 1)), "every frame, in order"


def test_large_moments_are_kept_rarely_and_few(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    live = live_stream(model)
    frames_of(live, 3)
    num_bytes = live.save_state().num_bytes
    monkeypatch.setattr(state_history, "MAX_SNAPSHOT_BYTES", 2.5 * num_bytes)
    monkeypatch.setattr(state_history, "MAX_SAVED_BYTES", num_bytes)
    monkeypatch.setattr(state_history, "BYTES_PER_S", num_bytes)  # one a second of 16 frames
    history = StateHistory(live)
    counts = []
    for _ in range(16):
        history.take_snapshot()
        counts.append(live.frame_count)
        live.step()
    assert history.rewind(1000.0)
    assert live.frame_count == counts[-8], "the older of two, a second before the newest"
    history.save()
    with pytest.raises(StreamDiTError, match="too many saved states"):
        history.save()


def test_a_script_becomes_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diffusers()
    monkeypatch.setattr("streamdit_gym.live.launch.FILM_TAIL_S", 0.5)
    script = tmp_path / "script.jsonl"
    script.write_text('{"at": 0.5, "prompt": "rain falls"}\n')
    film = tmp_path / "film.mp4"
    folder = write_folder(tmp_path / "model")
    words = ["play", f"wan:{folder}", "--script", str(script), "--film", str(film)]
    assert main([*words, "--device", "cpu", "--set", "prompt=a cat runs", *SMALL]) == 0
    frames = read_video(film)
    assert frames.shape == (17, 214 + 2 * 56, 320, 3), "a second and the chunk's rest, as wide"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "colour=red"], "unknown setting 'colour'"),
        (["--set", "frame_size=32"], "height and width"),
        (["--set", "frame_size=40,48"], "no whole tokens"),
        (["--set", "frame_size=32,48", "prompt= "], "this is no prompt"),
        (["--film", "film.mp4"], "needs a script"),
        (["--script", "none.jsonl"], "the script cannot be read"),
        (["--set", "frame_size=32,48", f"prompt={'rain ' * 199}"], "longer than the model takes"),
    ],
)
def test_what_is_wrong_is_told_before_weights_are_read(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    diffusers()
    folder = write_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "TEXT_TOKENS", 150)
    monkeypatch.setattr(loading, "load_parts", lambda *_: pytest.fail("something is loaded"))
    command = ["play", f"wan:{folder}", "--device", "cpu", *words]
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_settings_of_open_models_mean_nothing_for_a_world(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["play", "PushT", "--set", "guidance=2", "prompt=x"]) == 2
    assert "a world does not take this" in capsys.readouterr().err
