"""Generated data sets: what is in them, how they go on, and what is refused."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from support.generated import SMALL

from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import (
    DatasetError,
    MissingExtraError,
    PartitionError,
    StorageError,
    StreamDiTError,
    UnknownNameError,
)
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.dataset_report import inspect_dataset
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.generate.quality import EpisodeFilter, EpisodeQuality
from streamdit_gym.generate.ray_pool import RayPool


def test_a_data_set_says_what_happened_in_it(lossless: Path) -> None:
    dataset = Dataset(lossless)
    rows = [json.loads(line) for line in (lossless / "manifest.jsonl").read_text().splitlines()]
    assert [len(dataset.shard(i).frames) for i in range(3)] == [2, 2, 1]
    assert [row["seed"] for row in rows] == [0, 1, 2, 3, 4]
    for row in rows:
        shard = dataset.shard(row["shard"])
        menu = dataset.meta["menu"]
        assert len(row["prompts"]) == len(row["successes"]) == 8
        for action, said, number in zip(
            shard.actions[row["row"]], row["prompts"], shard.prompts[row["row"]], strict=True
        ):
            assert said in menu[action]
            assert dataset.phrases[number] == said
        assert row["quality"]["return"] == pytest.approx(
            shard.rewards[row["row"], :, dataset.meta["tasks"].index("push")].sum(), abs=1e-4
        )
        assert (
            0
            < row["quality"]["self_consistency_error"]
            <= row["quality"]["self_consistency_error_max"]
            < 1
        )
    changed = [np.abs(np.diff(dataset.shard(i).frames.astype(int), axis=1)).max() for i in range(3)]
    assert max(changed) > 50, "something moves"
    assert dataset.meta["generated"]["bundle"]["model.safetensors"]["sha256"]


def test_only_good_episodes_are_kept_and_the_others_are_told_of(
    lossless: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (lossless / "manifest.jsonl").read_text().splitlines()]
    limit = sorted(row["quality"]["self_consistency_error"] for row in rows)[2]
    made = generate(SMALL, tmp_path, keep_if=f"self_consistency_error<{limit:.6f} and drift<9")
    again = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert (
        made.num_kept == sum(row["kept"] for row in again) == inspect_dataset(tmp_path).num_episodes
    )
    assert 1 <= made.num_kept <= 3
    kept = next(row for row in again if row["kept"])
    position = Dataset(tmp_path).shards.index(kept["shard"])
    whole = Dataset(lossless).shard(kept["shard"]).frames[kept["batch_row"]]
    assert (Dataset(tmp_path).shard(position).frames[kept["row"]] == whole).all()
    assert inspect_dataset(tmp_path).num_dropped == 5 - made.num_kept


@pytest.mark.parametrize(
    "rule",
    [
        "self_consistency_error",
        "self_consistency_error<",
        "beauty<1",
        "drift<0.1 or drift>1",
        "drift<one",
    ],
)
def test_rules_that_cannot_be_read_are_told(rule: str) -> None:
    with pytest.raises(StreamDiTError, match="which episodes to keep"):
        EpisodeFilter(rule)


def test_a_filter_keeps_the_episodes_that_its_rule_describes() -> None:
    assert EpisodeFilter("")({})
    rule = EpisodeFilter("drift<0.1 and success==1")
    assert rule({"drift": 0.05, "success": 1.0})
    assert not rule({"drift": 0.05, "success": 0.0})


def test_a_filter_understands_the_former_name_of_a_metric() -> None:
    with pytest.warns(DeprecationWarning, match="disagreement is now self_consistency_error"):
        rule = EpisodeFilter("disagreement<0.1")
    assert rule({"self_consistency_error": 0.05})
    assert not rule({"self_consistency_error": 0.2})


def quality_of_frames(frames: np.ndarray) -> dict[str, float]:
    quality = EpisodeQuality(
        frames=frames,
        self_consistency_errors=np.array([0.1, 0.3]),
        rewards=np.ones(3),
        success=False,
    )
    return quality.metrics()


def test_quality_is_measured_of_frames_errors_and_rewards() -> None:
    sharp = np.zeros((20, 8, 8, 3), np.uint8)
    sharp[:, ::2] = 200
    metrics = quality_of_frames(sharp)
    assert metrics["drift"] == 0
    assert metrics["self_consistency_error"] == pytest.approx(0.2)
    assert metrics["self_consistency_error_max"] == 0.3
    assert metrics["return"] == 3.0
    blurred = sharp.copy()
    blurred[-5:] = 100
    assert quality_of_frames(blurred)["drift"] > 0.9


def test_what_cannot_be_generated_is_told_and_nothing_is_lost(
    lossless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(lossless, copied)
    before = sorted((p.name, p.stat().st_size) for p in copied.iterdir())
    with pytest.raises(DatasetError, match="differing in seed"):
        generate(GenerateConfig(episodes=5, steps=8, batch=2, seed=1), copied)
    with pytest.raises(DatasetError, match="differing in keep_if"):
        generate(SMALL, copied, keep_if="drift<0.5")
    assert sorted((p.name, p.stat().st_size) for p in copied.iterdir()) == before
    with pytest.raises(DatasetError, match="more episodes are here"):
        generate(GenerateConfig(episodes=4, steps=8, batch=2), copied)
    assert sorted((p.name, p.stat().st_size) for p in copied.iterdir()) == before
    with pytest.raises(StreamDiTError, match="batch cannot be used"):
        GenerateConfig(batch=0)
    with pytest.raises(PartitionError, match="an action is for one frame"):
        generate(GenerateConfig(episodes=1, partition="K4N1c2s1"), tmp_path / "x")
    with pytest.raises(UnknownNameError, match="did you mean 'random'"):
        generate(GenerateConfig(episodes=1, policy="randm"), tmp_path / "x")
    assert not (tmp_path / "x").exists(), "and the folder is still free"
    with pytest.raises(UnknownNameError, match="did you mean 'lerobot'"):
        generate(SMALL, tmp_path / "x", kind="lerobt")
    with pytest.raises(UnknownNameError, match="did you mean 'push'"):
        generate(GenerateConfig(task="pussh"), tmp_path / "x")
    (tmp_path / "bad.jsonl").write_text('{"prompts": ["stay"]}\n{"prompts": []}\n')
    with pytest.raises(StreamDiTError, match=r"bad\.jsonl, line 2"):
        generate(GenerateConfig(policy=str(tmp_path / "bad.jsonl")), tmp_path / "x")
    with pytest.raises(StreamDiTError, match="no pictures"):
        generate(GenerateConfig(episodes=1, images=str(tmp_path / "nowhere")), tmp_path / "y")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "part-meta.json").write_text("{")
    assert generate(GenerateConfig(episodes=1, steps=1, batch=1), tmp_path / "begun").num_kept == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not empty"):
        generate(SMALL, tmp_path / "other")
    (tmp_path / "flat").write_text("a file")
    with pytest.raises(StorageError, match="cannot write"):
        generate(SMALL, tmp_path / "flat" / "deep")
    with pytest.raises(DatasetError, match=r"no episode was kept[\s\S]*manifest\.jsonl"):
        generate(SMALL, tmp_path / "none", keep_if="return>1e9")
    assert len((tmp_path / "none" / "manifest.jsonl").read_text().splitlines()) == 5
    monkeypatch.setattr("streamdit_gym.generate.dataset_builder.MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(DatasetError, match="almost full"):
        generate(GenerateConfig(episodes=7, steps=8, batch=2), copied)
    assert len(Dataset(copied)) == 3


def test_a_look_at_a_data_set_finds_what_is_broken_and_what_is_there_twice(
    lossless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(lossless, folder)
    for kind in ("mkv", "npz", "json"):
        content = (folder / f"shard-00000.{kind}").read_bytes()
        (folder / f"shard-00007.{kind}").write_bytes(
            content.replace(b"shard-00000.", b"shard-00007.") if kind == "json" else content
        )
    os.truncate(folder / "shard-00001.mkv", 200)
    assert main(["inspect", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "shard 0 row 1 and shard 7 row 1" in said
    assert (
        "damaged    shard 1: shard-00001.mkv is not what was written; call generate again" in said
    )
    assert "return     push" in said
    report = inspect_dataset(folder)
    assert (report.num_episodes, report.num_frames, len(report.duplicates)) == (5, 45, 2)
    assert len(report.damage) == 6, (
        "one is cut, four are missing before the seventh, and the manifest has others"
    )
    assert sum(report.actions.values()) == 40
    sheet = cv2.imread(str(folder / "contact.png"))
    assert sheet.shape == (5 * 64, 12 * 64, 3)
    assert "damaged    nothing" in "\n".join(inspect_dataset(lossless).lines())


def test_a_look_tells_what_is_missing(lossless: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(lossless, folder)
    (folder / "shard-00000.json").unlink()
    (folder / "shard-00001.npz").unlink()
    (folder / "manifest.jsonl").unlink()
    assert inspect_dataset(folder).damage == [
        "shard 0: shard-00000.json is missing or cut; call generate again",
        "shard 1: shard-00001.npz is missing; call generate again",
        "the data set is not finished; call generate again",
    ]


def test_errors_come_back_from_other_processes_as_they_were() -> None:
    for error in (
        UnknownNameError("player", "randm", ["random"]),
        MissingExtraError("ray", "ray", "it"),
        DatasetError("no", given=3),
    ):
        again = copy.copy(error)  # goes the way that pickle goes
        assert (type(again), str(again), again.__dict__) == (
            type(error),
            str(error),
            error.__dict__,
        )


def test_the_command_generates_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    options = "--episodes 2 --steps 3 --policy scripted --set batch=2 task=reach"
    command = f"generate PushT --out {tmp_path} {options}".split()
    assert main(command) == 0
    assert "2 of 2 episodes kept" in capsys.readouterr().out
    assert main([*command, "--episodes", "4"]) == 0
    assert "4 of 4 episodes kept, 16 frames" in capsys.readouterr().out
    assert main([*command, "--policy", "random"]) == 2
    assert "differing in policy" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dead_actors_shards_are_made_again(tmp_path: Path) -> None:
    pytest.importorskip("ray")

    class Mortal:
        """Writes a file per shard; the first actor dies of shard 2, and all die of shard 9."""

        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def run(self, index: int) -> int:
            if index == 9 or (index == 2 and not (self.folder / "dead").exists()):
                (self.folder / "dead").touch()
                os._exit(1)
            if index == 7:
                raise DatasetError("seven is not made", given=index)
            (self.folder / f"{index}").write_text(str(os.getpid()))
            return 10 + index

    done: list[int] = []
    pool = RayPool(address=None, gpus=False, cores=1)
    pool.run(Mortal, (tmp_path,), range(5), done.append)
    assert sorted(done) == [10, 11, 12, 13, 14]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1", "2", "3", "4", "dead"]
    assert os.getpid() not in {int((tmp_path / str(i)).read_text()) for i in range(5)}
    with pytest.raises(DatasetError, match="seven is not made"):
        pool.run(Mortal, (tmp_path,), [7], done.append)
    with pytest.raises(StreamDiTError, match="keep dying"):
        pool.run(Mortal, (tmp_path,), [9], done.append)
    with pytest.raises(StreamDiTError, match="has no GPU"):
        gpu_pool = RayPool(address=None, gpus=True, cores=1)
        gpu_pool.run(Mortal, (tmp_path,), [1], done.append)


def test_ray_makes_the_data_of_the_local_run(lossless: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    assert generate(SMALL, tmp_path, ray="", cores=torch.get_num_threads()).num_kept == 5
    for i in range(3):
        made, truth = Dataset(tmp_path).shard(i), Dataset(lossless).shard(i)
        assert (made.actions == truth.actions).all()
        assert (made.frames == truth.frames).all()


def test_more_episodes_can_be_asked_for_later(lossless: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(lossless, folder)
    assert generate(GenerateConfig(episodes=8, steps=8, batch=2), folder).num_generated == 8
    assert (
        generate(GenerateConfig(episodes=8, steps=8, batch=2), tmp_path / "whole").num_generated
        == 8
    )
    for i in range(4):
        assert (
            Dataset(folder).shard(i).frames == Dataset(tmp_path / "whole").shard(i).frames
        ).all()
