"""The commands that take recordings: import, and train with a folder and a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.recordings import write_lerobot

from streamdit_gym.cli.main import main
from streamdit_gym.cli.train_command import Train
from streamdit_gym.cli.world_argument import definition_of
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.definition import WorldDefinition


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder with a LeRobot data set."""
    monkeypatch.chdir(tmp_path)
    return write_lerobot(tmp_path / "robot", (12, 15, 1))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[WorldDefinition, Path | None]]:
    """Return a list of what would be trained instead of training it."""
    calls: list[tuple[WorldDefinition, Path | None]] = []

    def train(self: Train, definition: WorldDefinition, recipe: object) -> None:
        calls.append((definition, self._data_folder()))

    monkeypatch.setattr(Train, "train", train)
    return calls


def test_import_says_what_was_read_and_what_was_skipped(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--set", "cameras=front,wrist", "frame_size=64,128", "fps=20", "steps=8"]
    assert main(["import", str(recordings), "arm", *settings]) == 0
    said = capsys.readouterr().out
    assert "2 of 3 episodes" in said
    assert "skipped episode 2: it has one frame only" in said
    assert "streamdit-gym train arm" in said
    dataset = Dataset("recorded/arm")
    assert dataset.frame_size == (64, 128)
    assert dataset.meta["fps"] == 20


def test_a_bad_setting_is_refused_before_anything_is_written(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for settings in ("frame_size=64", "frame_size=60,60", "cameras=a,b,c", "prompts=songs"):
        assert main(["import", str(recordings), "arm", "--set", settings]) == 2
        error = capsys.readouterr().err
        assert "allowed:" in error
        assert "remedy:" in error
    assert not Path("recorded").exists()


def test_train_imports_recordings_and_then_knows_their_name(
    recordings: Path, trained: list[tuple[WorldDefinition, Path | None]]
) -> None:
    assert main(["train", "--data", str(recordings), "--name", "arm"]) == 0
    assert main(["train", "--data", str(recordings), "--name", "arm", "--resume"]) == 0
    assert main(["train", "arm", "--resume"]) == 0
    assert main(["train", "--data", "recorded/arm", "--name", "arm"]) == 0
    assert [definition.name for definition, _ in trained] == ["arm"] * 4
    assert [folder for _, folder in trained] == [None, None, None, Path("recorded/arm")]
    assert definition_of("arm") == trained[0][0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train"], "one world is trained"),
        (["train", "PushT", "--name", "arm"], "one world is trained"),
        (["train", "--name", "arm"], "a name without recordings"),
        (["train", "--data", "robot", "--name", "PushT"], "a world of this name is registered"),
        (["train", "--data", "nowhere", "--name", "arm"], "no such folder"),
        (["import", "robot", "my arm"], "a world's name"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    words: list[str], text: str, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert text in capsys.readouterr().err
    assert not Path("recorded").exists()


def test_several_processes_do_not_import(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "--data", str(recordings), "--name", "arm"]) == 2
    assert "streamdit-gym import" in capsys.readouterr().err
