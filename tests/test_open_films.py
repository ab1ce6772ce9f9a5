"""`generate` with an open model: videos of sentences, and lines that say what they show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_wan import diffusers, make_model, write_folder

from streamdit_gym.cli.main import main
from streamdit_gym.data.imports.recordings import ImportSettings
from streamdit_gym.data.imports.video_recordings import VideoRecordings
from streamdit_gym.data.video import read_video
from streamdit_gym.errors import ArgumentError, DatasetError
from streamdit_gym.generate import open_films
from streamdit_gym.generate.open_films import OpenFilms, write_open_films
from streamdit_gym.open_weights import load_open_model as loading
from streamdit_gym.open_weights.load_open_model import OpenSettings, load_open_model
from streamdit_gym.open_weights.open_streams import OpenStreams

SCHEDULES = (("a cat runs", "rain falls"), ("fire burns",))


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model("K2N2c1s1")


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def test_videos_have_their_length_and_a_line_for_each(model: Any, tmp_path: Path) -> None:
    films = OpenFilms(schedules=SCHEDULES, episodes=3, steps=23, batch=2, seed=5)
    assert write_open_films(lambda: model, films, tmp_path) == 3
    lines = lines_of(tmp_path)
    assert [line["file"] for line in lines] == ["00000.mp4", "00001.mp4", "00002.mp4"]
    assert [line["seed"] for line in lines] == [5, 6, 7]
    for line in lines:
        assert read_video(tmp_path / line["file"]).shape == (24, 32, 48, 3)
        assert len(line["prompts"]) == 23
    assert set(lines[1]["prompts"]) == {"fire burns"}
    # 9 frames begin a stream, and a sentence shows itself a chunk of 4 later
    assert lines[0]["prompts"].index("rain falls") == 12
    assert lines[2]["prompts"] == lines[0]["prompts"]


def test_videos_are_what_streams_show(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[np.ndarray] = []
    add = open_films.VideoWriter.add

    def recorded(self: Any, frame: np.ndarray) -> None:
        written.append(frame)
        add(self, frame)

    monkeypatch.setattr(open_films.VideoWriter, "add", recorded)
    films = OpenFilms(schedules=[["fire burns"]], steps=16, seed=3)
    write_open_films(lambda: model, films, tmp_path)
    streams = OpenStreams(model)
    frames = [streams.start(["fire burns"], [3])]
    frames += [streams.step(["fire burns"]) for _ in range(2)]
    assert np.array_equal(np.stack(written), torch.cat(frames, 1)[0].numpy())


def test_a_killed_run_goes_on_and_a_finished_one_loads_nothing(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = OpenFilms(schedules=SCHEDULES, episodes=2, steps=12)
    write_open_films(lambda: model, films, tmp_path / "whole")

    def broken(self: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(open_films.VideoWriter, "close", broken)
        write_open_films(lambda: model, films, tmp_path / "killed")
    assert not list((tmp_path / "killed").glob("*.mp4")), "no half videos"
    first = OpenFilms(schedules=SCHEDULES, episodes=1, steps=12)
    assert write_open_films(lambda: model, first, tmp_path / "killed") == 1
    assert write_open_films(lambda: model, films, tmp_path / "killed") == 1
    assert write_open_films(lambda: pytest.fail("loaded"), films, tmp_path / "killed") == 0
    for name in ("00000.mp4", "00001.mp4", "episodes.jsonl"):
        whole, killed = tmp_path / "whole" / name, tmp_path / "killed" / name
        assert whole.read_bytes() == killed.read_bytes()


def test_videos_go_on_from_pictures(model: Any, tmp_path: Path) -> None:
    red = np.full((1, 32, 48, 3), (255, 0, 0), np.uint8)
    films = OpenFilms(schedules=SCHEDULES, steps=4, images="red")
    write_open_films(lambda: model, films, tmp_path / "with", red)
    films = OpenFilms(schedules=SCHEDULES, steps=4)
    write_open_films(lambda: model, films, tmp_path / "without")
    first = [read_video(tmp_path / name / "00000.mp4")[0] for name in ("with", "without")]
    known, _ = model.codec.decode(
        model.codec.encode(torch.from_numpy(red)[None]), model.codec.new_memory()
    )
    assert np.abs(first[0].astype(int) - known[0, 0].numpy()).mean() < 12, (
        "as far as H.264 keeps it"
    )
    assert not np.array_equal(first[0], first[1])


def test_a_folder_of_other_videos_is_refused(model: Any, tmp_path: Path) -> None:
    films = OpenFilms(schedules=SCHEDULES, steps=4)
    write_open_films(lambda: model, films, tmp_path)
    with pytest.raises(DatasetError, match="other seed"):
        other = OpenFilms(schedules=SCHEDULES, steps=4, seed=1)
        write_open_films(lambda: pytest.fail("loaded"), other, tmp_path)
    (tmp_path / "generated.json").write_text("{")
    with pytest.raises(DatasetError, match="cannot be read"):
        write_open_films(lambda: pytest.fail("loaded"), films, tmp_path)
    (tmp_path / "generated.json").unlink()
    with pytest.raises(DatasetError, match="other recordings"):
        write_open_films(lambda: pytest.fail("loaded"), films, tmp_path)
    for wrong in ({"steps": 0}, {"seed": -1}, {"schedules": []}, {"schedules": [[]]}):
        with pytest.raises(ArgumentError):
            OpenFilms(**{"schedules": SCHEDULES, **wrong})


@pytest.mark.parametrize("name", ["00000.mp4", "holiday.mp4", "meta.json"])
def test_files_of_others_are_not_overwritten(name: str, model: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(DatasetError, match="other recordings"):
        write_open_films(lambda: model, OpenFilms(schedules=SCHEDULES), tmp_path)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"file": "cat.mp4"}'])
def test_damaged_lines_are_named(text: str, model: Any, tmp_path: Path) -> None:
    films = OpenFilms(schedules=SCHEDULES, steps=8)
    write_open_films(lambda: model, films, tmp_path)
    (tmp_path / "episodes.jsonl").write_text(text)
    with pytest.raises(DatasetError, match="lines of a folder of videos cannot be read"):
        write_open_films(lambda: model, films, tmp_path)


def test_a_stream_that_breaks_leaves_no_video(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenStreams, "finite", lambda _: torch.tensor([True, False]))
    films = OpenFilms(schedules=SCHEDULES, episodes=2, batch=2, steps=12)
    with pytest.raises(DatasetError, match="not finite"):
        write_open_films(lambda: model, films, tmp_path)
    assert not list(tmp_path.glob("*.mp4"))


def test_the_command_generates_what_import_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diffusers()
    folder = write_folder(tmp_path / "model")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompts": ["a cat runs", "rain falls"]}\n')
    out = tmp_path / "out"
    words = ["generate", f"wan:{folder}", "--policy", str(prompts), "--out", str(out)]
    words += ["--episodes", "2", "--steps", "20", "--device", "cpu", "--set", "batch=2"]
    words += ["partition=K2N2c1s1", "clip_steps=1", "frame_size=32,48", "dtype=float32"]
    assert main(words) == 0
    assert "2 videos generated" in capsys.readouterr().out
    recordings = VideoRecordings(out, ImportSettings(frame_size=(32, 48)))
    assert recordings.description.captions == ("a cat runs", "rain falls")
    assert recordings.read(1).frames.shape[1:] == (32, 48, 3)
    assert main(words) == 0
    assert "0 videos generated, 2 in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "needs a sentence"),
        (["--format", "lerobot"], "--format lerobot"),
        (["--keep-if", "drift<0.2"], "--keep-if"),
        (["--policy", "scripted"], "--policy scripted"),
        (["--trust-agents"], "--trust-agents"),
        (["--set", "task=push", "clip=8"], "clip, task"),
        (["--policy", "none.jsonl"], "cannot be read"),
        (["--policy", "p.jsonl", "--set", "prompt=a cat"], "a file of prompts"),
        (["--set", "prompt=a cat", "frame_size=40,48"], "no whole tokens"),
        (["--set", f"prompt={'rain ' * 180}"], "longer than the model takes"),
        (["--set", "prompt=a cat", "images=nothing"], "no pictures"),
    ],
)
def test_what_an_open_model_cannot_do_is_told_before_weights_are_read(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    diffusers()
    folder = write_folder(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.jsonl").write_text('{"prompts": ["rain falls"]}\n')
    monkeypatch.setattr(loading, "TEXT_TOKENS", 150)
    monkeypatch.setattr(loading, "load_parts", lambda *_: pytest.fail("something is loaded"))
    settings = ["frame_size=32,48"] if "--set" in words and "frame_size" not in words[-1] else []
    assert main(["generate", f"wan:{folder}", "--device", "cpu", *words, *settings]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/generated/*"))


def test_a_batch_of_streams_needs_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diffusers()
    folder = write_folder(tmp_path)
    monkeypatch.setattr(loading, "load_parts", lambda *_: pytest.fail("something is loaded"))
    monkeypatch.setattr(loading, "free_memory", lambda _: 10_000_000)
    settings = OpenSettings(frame_size=(32, 48), device="cpu", dtype="float32", streams=1000)
    with pytest.raises(ArgumentError, match="1000 streams"):
        load_open_model(str(folder), settings)


def test_settings_of_open_models_mean_nothing_for_a_world(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["generate", "PushT", "--set", "guidance=2"]) == 2
    assert "a world does not take this" in capsys.readouterr().err
