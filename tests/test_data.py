"""Recording and reading data sets."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.disks import fill, no_space, remount_read_only, small_disk
from support.kills import survive_often

from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record, record_shard
from streamdit_gym.data.video import LOSSLESS, read_video, write_video
from streamdit_gym.envs.pusht.definition import HARD_START, SPEC
from streamdit_gym.envs.pusht.geometry import (
    BLOCK_HULL_UNITS,
    TABLE_UNITS,
    UNITS_PER_PX,
)
from streamdit_gym.envs.pusht.world import WORLD
from streamdit_gym.errors import (
    ArgumentError,
    DatasetError,
    StorageError,
    StreamDiTError,
)
from streamdit_gym.files import folder_lock

CONFIG = RecordConfig(shards=2, episodes=2, steps=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded")
    record(WORLD, path, CONFIG)
    return path


def test_a_recording_holds_everything(folder: Path) -> None:
    dataset = Dataset(folder)
    assert len(dataset) == 2
    shard = dataset.shard(0)
    assert shard.frames.shape == (2, 6, 64, 64, 3)
    assert shard.actions.shape == shard.prompts.shape == (2, 5)
    assert shard.states.shape == (2, 6, 6)
    assert shard.scores.shape == (2, 6, 4)
    assert shard.rewards.shape == (2, 5, 2)
    for action, prompt in zip(shard.actions.flat, shard.prompts.flat, strict=True):
        assert dataset.phrases[prompt] in SPEC.menu[action]


def test_rewards_are_what_the_world_file_says(folder: Path) -> None:
    shard = Dataset(folder).shard(1)
    for column, name in enumerate(sorted(SPEC.tasks)):
        task = SPEC.tasks[name]
        potential = shard.scores[..., SPEC.score_names.index(task.potential)]
        success = shard.scores[:, 1:, SPEC.score_names.index(task.success)] > task.threshold
        np.testing.assert_allclose(
            shard.rewards[..., column],
            task.scale * np.diff(potential) + task.bonus * success,
            atol=1e-5,
        )


def test_a_shard_depends_on_the_seed_alone(folder: Path) -> None:
    again = record_shard(WORLD, CONFIG, 1)
    stored = Dataset(folder).shard(1)
    for name in ("frames", "actions", "prompts", "states", "scores"):
        assert (getattr(again, name) == getattr(stored, name)).all(), (
            f"{name}: video and arrays are lossless"
        )
    other = record_shard(WORLD, replace(CONFIG, seed=1), 1)
    assert not (other.states == stored.states).all()


def nearest_wall(states: np.ndarray) -> np.ndarray:
    """Return how far the corners of Ts are from the wall that is nearest to one of them, in px."""
    hull = np.array(BLOCK_HULL_UNITS) / UNITS_PER_PX
    turn = np.stack(
        [np.stack([states[:, 4], -states[:, 5]], -1), np.stack([states[:, 5], states[:, 4]], -1)], 1
    )
    corners = states[:, None, 2:4] + np.einsum("nij,kj->nki", turn, hull)
    return np.minimum(corners, TABLE_UNITS / UNITS_PER_PX - corners).min((1, 2))


def test_the_last_episodes_of_a_shard_have_a_hard_start() -> None:
    config = RecordConfig(episodes=24, steps=40, hard_start=HARD_START, num_hard_starts=12)
    shard = record_shard(WORLD, config, 0)
    begun, ended = nearest_wall(shard.states[:, 0]), nearest_wall(shard.states[:, -1])
    assert np.median(begun[12:]) < 4 < 8 < np.median(begun[:12])
    assert ended[12:].mean() < begun[12:].mean() - 0.5, "it is pushed outwards"
    assert ended[:12].mean() > 3, "and others are not"


def test_hard_starts_leave_the_other_episodes_as_they_were() -> None:
    config = RecordConfig(episodes=3, steps=5, hard_start=HARD_START, num_hard_starts=1)
    shard = record_shard(WORLD, config, 0)
    plain = record_shard(WORLD, replace(config, hard_start="", num_hard_starts=0), 0)
    assert (plain.states[:2] == shard.states[:2]).all()
    assert not (plain.states[2] == shard.states[2]).all()


def test_recording_resumes_and_keeps_whole_shards(folder: Path, tmp_path: Path) -> None:
    record(WORLD, tmp_path, replace(CONFIG, shards=1))
    stamp = (tmp_path / "shard-00000.npz").stat().st_mtime_ns
    (tmp_path / "shard-00001.part.npz").write_bytes(b"cut")
    record(WORLD, tmp_path, CONFIG)
    assert (tmp_path / "shard-00000.npz").stat().st_mtime_ns == stamp
    assert (Dataset(tmp_path).shard(1).states == Dataset(folder).shard(1).states).all()


def test_other_settings_never_mix_into_a_data_set(folder: Path) -> None:
    with pytest.raises(DatasetError, match="seed"):
        record(WORLD, folder, replace(CONFIG, seed=5))
    assert json.loads((folder / "meta.json").read_text())["seed"] == 0
    with pytest.raises(StreamDiTError, match="hard start"):
        RecordConfig(episodes=4, hard_start="cornered", num_hard_starts=5)


def test_broken_data_sets_say_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="streamdit-gym record"):
        Dataset(tmp_path / "nowhere")
    (tmp_path / "meta.json").write_text((folder / "meta.json").read_text())
    with pytest.raises(DatasetError, match="whole shard"):
        Dataset(tmp_path)
    (tmp_path / "shard-00000.npz").write_bytes((folder / "shard-00000.npz").read_bytes())
    (tmp_path / "shard-00000.mkv").write_bytes((folder / "shard-00000.mkv").read_bytes()[:200])
    with pytest.raises(DatasetError, match="shard-00000"):
        Dataset(tmp_path).shard(0)


def test_video_is_lossless(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "v.mkv", frames, 10.0, LOSSLESS)
    assert (read_video(tmp_path / "v.mkv") == frames).all()


@pytest.mark.parametrize("damage", ["cut arrays", "cut video", "no video", "other arrays"])
def test_a_shard_that_cannot_be_read_is_recorded_anew(
    folder: Path, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    arrays, video = tmp_path / "shard-00001.npz", tmp_path / "shard-00001.mkv"
    if damage == "cut arrays":
        arrays.write_bytes(arrays.read_bytes()[:-40])
    elif damage == "cut video":
        video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    elif damage == "no video":
        video.unlink()
    else:
        np.savez(arrays, actions=np.zeros((2, 5)))
    with pytest.raises(DatasetError, match="shard-00001"):
        Dataset(tmp_path).check_shard(1)
    record(WORLD, tmp_path, CONFIG)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_two_processes_do_not_record_into_one_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with folder_lock(tmp_path):
        assert main(["record", "PushT", "--out", str(tmp_path), "--shards", "1"]) == 2
    assert "another process works here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_clear_error_and_nothing_is_lost(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(WORLD, tmp_path, replace(CONFIG, shards=1))
    with monkeypatch.context() as full:
        full.setattr(os, "replace", no_space)
        with pytest.raises(StorageError, match="whole shards are kept"):
            record(WORLD, tmp_path, CONFIG)
    assert len(Dataset(tmp_path)) == 1
    assert not list(tmp_path.glob("part-*"))
    record(WORLD, tmp_path, CONFIG)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in folder.iterdir()
    )


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_disk_that_takes_nothing_more_is_a_clear_error(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        if kind == "full":
            fill(disk)
        else:
            remount_read_only(disk)
        assert (
            main(
                [
                    "record",
                    "PushT",
                    "--out",
                    str(disk / "data"),
                    "--shards",
                    "1",
                    "--set",
                    "episodes=1",
                    "steps=2",
                ]
            )
            == 2
        )
    assert "whole shards are kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"shards": 10**24},
        {"shards": 0},
        {"shards": 1.5},
        {"episodes": "4"},
        {"steps": -1},
        {"seed": -1},
        {"seed": True},
        {"workers": 10**6},
        {"episodes": 10**4, "steps": 10**4},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_recorded_are_refused_at_once(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="allowed"):
        RecordConfig(**change)


@pytest.mark.slow
def test_a_recording_survives_being_killed(tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        told = f"record PushT --out {out} --shards 6 --set episodes=3 steps=24 workers=2"
        return [sys.executable, "-m", "streamdit_gym", *told.split()]

    for folder in survive_often(command, tmp_path):
        files = sorted(path.name for path in (tmp_path / "undisturbed").iterdir())
        assert len(files) == 13
        assert sorted(path.name for path in folder.iterdir()) == files
        for name in files:
            assert (folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_former_names_of_frames_in_the_base_appearance_work_with_a_warning(folder: Path) -> None:
    dataset = Dataset(folder)
    with pytest.warns(DeprecationWarning, match="has_base_frames"):
        assert dataset.painted is False
    with (
        pytest.warns(DeprecationWarning, match="base_frames"),
        pytest.raises(DatasetError, match="the base world"),
    ):
        dataset.plain(0)
