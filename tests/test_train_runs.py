"""Runs on disk: numbers, threads, locks, full disks, kills."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_table, make_tiny_world
from safetensors.torch import save_file
from support.disks import fill, remount_read_only, small_disk
from support.kills import survive_often
from test_distill import REACTIVE, teacher_of
from test_palettes import PAINTED, painted
from test_train import FAST, TINY, moving_square

from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.distill.multistep import Distillation, distill
from streamdit_gym.envs.pusht.definition import SPEC, STARTS
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.errors import ArgumentError, DatasetError, StorageError, StreamDiTError
from streamdit_gym.files import folder_lock
from streamdit_gym.model.appearance import PromptedPalette
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.threads import ThreadChoice
from streamdit_gym.train import run
from streamdit_gym.train.latents import encode_dataset
from streamdit_gym.train.run import Budget, Stage, write_config
from streamdit_gym.train.train_codec import CodecTraining, train_codec
from streamdit_gym.train.train_heads import HeadTraining, train_heads
from streamdit_gym.train.train_looks import LooksTraining, Palettes, train_looks
from streamdit_gym.train.train_streamdit import StreamDiTTraining, train_streamdit
from streamdit_gym.train.train_world import WorldTraining
from streamdit_gym.world import World

TABLE = make_table(["right", "left"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny recording whose phrases are embedded already, at random."""
    folder = tmp_path_factory.mktemp("recorded")
    record(SPEC, PushTSimulator, STARTS, folder, RecordConfig(shards=2, episodes=3, steps=16))
    count = len(Dataset(folder).phrases)
    embedded = {
        "tokens": torch.randn(count, 2, 384).half(),
        "mask": torch.ones(count, 2, dtype=torch.bool),
    }
    save_file(
        {**embedded, "pooled": torch.randn(count, 384).half()}, folder / "phrases.safetensors"
    )
    return folder


def train_command(data: Path, out: Path) -> list[str]:
    told = f"train PushT --data {data} --out {out} --preset tiny --steps 5 --codec-steps 4 --head-steps 4 --clips 2"
    return [*told.split(), "--device", "cpu", "--resume"]


def distill_command(world: str, data: Path, out: Path) -> list[str]:
    return f"distill {world} --data {data} --out {out} --steps 4 --streams 4 --device cpu --resume".split()


def left_over(folder: Path) -> list[Path]:
    return list(folder.rglob("part-*"))


def codec_run(folder: Path) -> torch.nn.Module:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1))
    frames = torch.randint(0, 255, (4, 5, 64, 64, 3), dtype=torch.uint8).numpy()
    train_codec(codec, frames, frames[0], CodecTraining(steps=2, batch=6), folder, "cpu")
    return codec


def heads_run(folder: Path) -> torch.nn.Module:
    heads = Readout(ReadoutConfig(width=8, state_names=("x",), score_names=("success_x",)))
    episodes = moving_square()
    scores = torch.zeros(*episodes.latents.shape[:2], 1)
    train_heads(
        heads,
        replace(episodes, states=scores, scores=scores),
        HeadTraining(steps=2, batch=8),
        folder,
        "cpu",
    )
    return heads


def looks_run(folder: Path) -> torch.nn.Module:
    looks = PromptedPalette(2, 384, width=16)
    table = make_table(["stay", "red", "green", "grey"])
    train_looks(
        looks,
        Palettes(painted(), PAINTED.spatial_channels),
        table,
        LooksTraining(steps=2, batch=8),
        folder,
        "cpu",
    )
    return looks


def streamdit_run(folder: Path) -> torch.nn.Module:
    model = StreamDiT(TINY)
    train_streamdit(model, moving_square(), TABLE, replace(FAST, steps=2), folder, "cpu")
    return model


def distill_run(folder: Path) -> torch.nn.Module:
    teacher = teacher_of()
    config = Distillation(partitions=(REACTIVE,), teacher_steps=2, steps=2, streams=4)
    return distill(teacher, teacher, moving_square(), TABLE, config, folder, "cpu")


@pytest.mark.parametrize("stage", [codec_run, heads_run, looks_run, streamdit_run, distill_run])
def test_measuring_with_how_many_threads_a_stage_is_faster_changes_nothing(
    stage: Callable[[Path], torch.nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def measured(work: Callable[[], object], *, again: bool) -> int:
        calls.append(again)
        work()
        work()
        return 1

    torch.manual_seed(3)
    monkeypatch.setattr(run, "choose_threads", lambda work, *, again: 1)
    plain = stage(tmp_path / "plain").state_dict()
    torch.manual_seed(3)
    monkeypatch.setattr(run, "choose_threads", measured)
    trained = stage(tmp_path / "measured").state_dict()
    assert calls == [True]
    assert all(torch.equal(value, plain[name]) for name, value in trained.items())


def test_the_command_line_says_how_many_threads(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamdit_gym.threads._choice", ThreadChoice())
    measured = []
    monkeypatch.setattr(
        "streamdit_gym.threads._median_seconds", lambda work: measured.append(work) or 1.0
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert main([*train_command(data, tmp_path / "run"), "--minutes", "0", "--threads", "1"]) == 0
    assert torch.get_num_threads() == 1
    assert not measured
    assert main([*train_command(data, tmp_path / "run"), "--threads", "0"]) == 2


def distillation(**change: Any) -> Distillation:
    return Distillation(partitions=(REACTIVE,), **change)


@pytest.mark.parametrize(
    ("config", "change"),
    [
        (WorldTraining, {"keep": 1.5}),
        (WorldTraining, {"decoder_steps": 10**24}),
        (WorldTraining, {"starts": 0}),
        (WorldTraining, {"preset": "smal"}),
        (StreamDiTTraining, {"steps": -1}),
        (StreamDiTTraining, {"clips": 2.0}),
        (StreamDiTTraining, {"rate": float("nan")}),
        (StreamDiTTraining, {"cooldown": 0.0}),
        (StreamDiTTraining, {"compile": "False"}),
        (StreamDiTTraining, {"partitions": (("K4N1c1s1", 2.0),)}),
        (CodecTraining, {"batch": 2}),
        (CodecTraining, {"learning_rate": float("inf")}),
        (HeadTraining, {"batch": 10**9}),
        (LooksTraining, {"prompt_noise": "0.5"}),
        (Budget, {"steps": 1.5}),
        (Budget, {"steps": 1, "minutes": float("nan")}),
        (distillation, {"temperature": -1.0}),
        (distillation, {"streams": 10**12}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_numbers_that_cannot_be_trained_with_are_refused_at_once(
    config: Callable[..., object], change: dict[str, Any]
) -> None:
    with pytest.raises(StreamDiTError, match="allowed"):
        config(**change)


def test_minutes_that_are_no_number_are_refused_before_the_run_begins(
    data: Path, tmp_path: Path
) -> None:
    assert main([*train_command(data, tmp_path / "run"), "--minutes", "nan"]) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "distill", "distill --decoder-blocks 1"])
def test_two_processes_do_not_work_in_one_run_folder(
    command: str, data: Path, tiny_bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = (
        train_command(data, tmp_path)
        if command == "train"
        else distill_command(tiny_bundle, data, tmp_path)
    )
    if "decoder" in command:
        told = f"{command} {tiny_bundle} --data {data} --out {tmp_path} --device cpu".split()
    with folder_lock(tmp_path):
        assert main(told) == 2
    assert "another process works here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_cut_shard_is_found_before_the_first_stage(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    video = tmp_path / "data" / "shard-00001.mkv"
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert main(train_command(tmp_path / "data", tmp_path / "run")) == 2
    assert not list((tmp_path / "run").glob("*"))


def test_latents_that_are_cut_are_made_anew(data: Path, tmp_path: Path) -> None:
    codec = make_tiny_world().codec
    first = encode_dataset(Dataset(data), codec, tmp_path, "cpu")
    path = tmp_path / "latents-00001.npz"
    path.write_bytes(path.read_bytes()[:-100])
    again = encode_dataset(Dataset(data), codec, tmp_path, "cpu")
    assert torch.equal(first.latents, again.latents)


@pytest.mark.parametrize(
    "name", ["codec.safetensors", "codec.checkpoint.pt", "phrases.safetensors"]
)
def test_a_cut_file_of_a_run_is_a_clear_error(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    if name == "phrases.safetensors":
        folder = tmp_path / "data"
        shutil.copytree(data, folder)
        data = folder
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"cut")
    assert main(train_command(data, tmp_path / "run")) == 2
    assert name in capsys.readouterr().err


def test_a_checkpoint_that_finds_no_room_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    layer = torch.nn.Linear(2, 2)
    stage = Stage(tmp_path, "stage", {"layer": layer})
    stage.save()
    before = stage.path.read_bytes()
    write_config(tmp_path, {"a": 1})
    monkeypatch.setattr(os, "replace", no_space)
    layer.weight.data.zero_()
    with pytest.raises(StorageError, match="--resume"):
        stage.save()
    with pytest.raises(StorageError, match=r"config\.json"):
        write_config(tmp_path, {"a": 2})
    assert stage.path.read_bytes() == before
    assert (tmp_path / "config.json").read_text() == '{\n "a": 1\n}'
    assert not left_over(tmp_path)


@pytest.mark.parametrize("kind", ["full", "read-only"])
@pytest.mark.parametrize("what", ["train", "distill"])
def test_a_disk_that_takes_nothing_more_is_a_clear_error(
    what: str,
    kind: str,
    data: Path,
    tiny_bundle: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        told = (
            train_command(data, disk / "run")
            if what == "train"
            else distill_command(tiny_bundle, data, disk / "run")
        )
        if kind == "full":
            fill(disk, leave=200_000)
        else:
            remount_read_only(disk)
        assert main(told) == 2
    assert "error: cannot write" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("what", ["train", "distill"])
def test_a_run_survives_being_killed(
    what: str, data: Path, tiny_bundle: str, tmp_path: Path
) -> None:
    def command(out: Path) -> list[str]:
        told = (
            train_command(data, out) if what == "train" else distill_command(tiny_bundle, data, out)
        )
        return [sys.executable, "-m", "streamdit_gym", *told]

    for folder in survive_often(command, tmp_path):
        assert World.from_pretrained(folder / "world").spec == SPEC
        for stage in ("codec", "heads", "streamdit") if what == "train" else ("distill",):
            assert torch.load(folder / f"{stage}.checkpoint.pt", weights_only=True)["finished"]
        assert not left_over(folder)


def test_the_data_of_another_world_are_refused(data: Path) -> None:
    dataset = Dataset(data)
    dataset.meta["size"] = 32
    with pytest.raises(DatasetError, match="another shape"):
        dataset.check_shard(0)
    with pytest.raises(ArgumentError):
        RecordConfig(shards=0)
