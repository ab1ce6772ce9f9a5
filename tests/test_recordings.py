"""Recordings of every kind: folders, imports that are stopped, rates, rewards and shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.imported_recordings import (
    WHOLE_SIZE,
    imported,
    refusal,
    shards_of,
)
from support.recordings import (
    write_lerobot,
)

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.imports import importer
from streamdit_gym.data.imports.episode_pieces import cut_episodes, episodes_per_shard
from streamdit_gym.data.imports.importer import import_recordings
from streamdit_gym.data.imports.lerobot_recordings import LeRobotRecordings
from streamdit_gym.data.imports.recorded_world import recorded_definition
from streamdit_gym.data.imports.recordings import ImportSettings
from streamdit_gym.data.imports.resampling import Resampling, default_fps, summed_rewards
from streamdit_gym.errors import DatasetError, DefinitionError


class TestFolders:
    def test_a_folder_without_recordings_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert "an empty folder" in refusal(tmp_path / "empty")
        assert "no such folder" in refusal(tmp_path / "nowhere")

    def test_a_name_that_no_world_can_have_is_refused(self, tmp_path: Path) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15))
        with pytest.raises(DefinitionError, match="name"):
            import_recordings(source, "my robot", tmp_path / "recorded", WHOLE_SIZE)
        assert not (tmp_path / "recorded").exists()

    def test_an_import_is_done_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15))
        target = tmp_path / "recorded"
        first = import_recordings(source, "robot", target, WHOLE_SIZE)
        monkeypatch.setattr(importer, "open_recordings", None)
        assert import_recordings(source, "robot", target, WHOLE_SIZE) == first
        with pytest.raises(DatasetError, match="other settings"):
            import_recordings(source, "robot", target, ImportSettings(fps=5))
        (source / "meta/new.json").write_text("{}")
        with pytest.raises(DatasetError, match="other files"):
            import_recordings(source, "robot", target, WHOLE_SIZE)

    def test_a_stopped_import_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15, 9))
        read = LeRobotRecordings.read
        numbers: list[int] = []

        def stopped(self: LeRobotRecordings, number: int) -> Any:
            if number == 2 and numbers == [0, 1]:
                raise KeyboardInterrupt
            numbers.append(number)
            return read(self, number)

        monkeypatch.setattr(LeRobotRecordings, "read", stopped)
        target = tmp_path / "recorded"
        with pytest.raises(KeyboardInterrupt):
            import_recordings(source, "robot", target, WHOLE_SIZE)
        with pytest.raises(DatasetError):
            Dataset(target)  # half an import is no data set
        numbers.append(9)
        import_recordings(source, "robot", target, WHOLE_SIZE)
        assert numbers == [0, 1, 9, 2]
        whole = tmp_path / "whole"
        import_recordings(source, "robot", whole, WHOLE_SIZE)
        for one, other in zip(shards_of(Dataset(target)), shards_of(Dataset(whole)), strict=True):
            assert (one.frames == other.frames).all()
            assert (one.actions == other.actions).all()
        assert sorted(path.name for path in target.iterdir()) == sorted(
            path.name for path in whole.iterdir()
        )

    def test_a_data_set_of_a_simulator_has_no_such_definition(self, tmp_path: Path) -> None:
        dataset = imported(write_lerobot(tmp_path / "robot", (12, 15)))
        del dataset.meta["import"]
        assert recorded_definition(dataset) is None

    def test_a_damaged_meta_is_named(self, tmp_path: Path) -> None:
        dataset = imported(write_lerobot(tmp_path / "robot", (12, 15)))
        dataset.meta["import"]["tasks"] = {"data": {"horizon": "long"}}
        with pytest.raises(DatasetError, match="cannot be understood"):
            recorded_definition(dataset)


@pytest.mark.parametrize(
    ("source_fps", "fps"), [(5, 5), (10, 10), (15, 15), (24, 12), (25, 12.5), (30, 10), (60, 10)]
)
def test_rates_divide_the_recordings_own(source_fps: float, fps: float) -> None:
    assert default_fps(source_fps) == fps


def test_frames_are_the_nearest_in_time() -> None:
    assert Resampling(30, 10).source_frames(10).tolist() == [0, 3, 6, 9]
    assert Resampling(25, 10).source_frames(10).tolist() == [0, 3, 5, 8]
    assert Resampling(5, 10).source_frames(3).tolist() == [0, 1, 1, 2, 2]


def test_rewards_between_frames_are_summed() -> None:
    rewards = np.arange(8.0)
    frames = np.array([0, 3, 6])
    assert summed_rewards(rewards, frames, ends=False).tolist() == [3, 12]
    assert summed_rewards(rewards, frames, ends=True).tolist() == [3, 12 + 6 + 7]
    assert summed_rewards(rewards, np.array([0, 0, 1]), ends=False).tolist() == [0, 0]


def test_shards_are_equal_and_hardly_anything_is_left_over() -> None:
    for count in range(2, 400):
        size = episodes_per_shard(count)
        assert count % size <= 0.02 * count
        assert count // size >= min(count, 10)


def test_pieces_cover_every_episode() -> None:
    pieces = cut_episodes({0: 25, 4: 7}, 10)
    parts = sorted((piece.episode, piece.start, piece.steps) for piece in pieces)
    assert parts == [(0, 0, 8), (0, 8, 9), (0, 17, 8), (4, 0, 7)]
