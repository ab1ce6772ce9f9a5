"""Runs on disk: threads, locks, full disks, kills."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_tiny_world
from support.disks import fill, no_space, remount_read_only, small_disk
from support.kills import survive_often
from support.painted import PAINTED, painted
from support.recorded import record_tiny
from support.training import PROMPTS, TINY, moving_square, train_square

from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig
from streamdit_gym.distill.distill_world import train_student
from streamdit_gym.distill.distiller import DistillationData
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.errors import ArgumentError, DatasetError, StorageError
from streamdit_gym.files import folder_lock
from streamdit_gym.model.appearance import PromptedPalette
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.recipes.distillation_settings import Distillation
from streamdit_gym.recipes.stage_settings import (
    AppearanceTraining,
    AutoencoderTraining,
    ReadoutTraining,
)
from streamdit_gym.train import loop
from streamdit_gym.train.run_files import write_config
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stage_run import StageRun
from streamdit_gym.train.stages.appearance_stage import (
    AppearanceTrainer,
    Palettes,
    train_appearance,
)
from streamdit_gym.train.stages.autoencoder_stage import (
    AutoencoderTrainer,
    share_of_minutes,
    train_autoencoder,
)
from streamdit_gym.train.stages.latents_stage import ShardEncoder, encode_dataset
from streamdit_gym.train.stages.readout_stage import ReadoutTrainer, train_readout
from streamdit_gym.train.training_frames import TrainingFrames
from streamdit_gym.world import World


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_tiny(tmp_path_factory.mktemp("recorded"))


def train_command(data: Path, out: Path) -> list[str]:
    command = f"train PushT --recipe tiny --data {data} --out {out} --device cpu --resume"
    return command.split()


def distill_command(world: str, data: Path, out: Path) -> list[str]:
    command = f"distill {world} --recipe tiny --data {data} --out {out} --device cpu --resume"
    return command.split()


def decoder_command(world: str, data: Path, out: Path) -> list[str]:
    return f"distill-decoder {world} --data {data} --out {out} --device cpu".split()


def left_over(folder: Path) -> list[Path]:
    return list(folder.rglob("part-*"))


def autoencoder_trainer(settings: AutoencoderTraining) -> AutoencoderTrainer:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1))
    episodes = torch.randint(0, 255, (4, 5, 64, 64, 3), dtype=torch.uint8).numpy()
    frames = TrainingFrames(episodes=episodes, held_out=episodes[0])
    return AutoencoderTrainer(codec, frames, settings, "cpu")


def autoencoder_run(folder: Path) -> torch.nn.Module:
    trainer = autoencoder_trainer(AutoencoderTraining(steps=2, batch=6))
    train_autoencoder(trainer, RunOptions(folder=folder))
    return trainer.codec


def test_an_autoencoder_ends_with_its_share_of_the_minutes(tmp_path: Path) -> None:
    settings = AutoencoderTraining(steps=10_000, batch=6, max_minutes_share=0.1)
    options = RunOptions(folder=tmp_path, minutes=0.2)
    trainer = autoencoder_trainer(settings)
    assert not train_autoencoder(trainer, share_of_minutes(options, options, settings))
    assert share_of_minutes(options, options, settings).minutes == pytest.approx(0.02)
    used_up = replace(options, minutes=0.0)
    assert share_of_minutes(options, used_up, settings).minutes == 0
    endless = replace(options, minutes=None)
    assert share_of_minutes(endless, endless, settings).minutes is None


def readout_run(folder: Path) -> torch.nn.Module:
    readout = Readout(ReadoutConfig(width=8, state_names=("x",), score_names=("success_x",)))
    episodes = moving_square()
    zeros = torch.zeros(len(episodes), episodes.length, 1)
    episodes = replace(episodes, states=zeros, scores=zeros)
    trainer = ReadoutTrainer(readout, episodes, ReadoutTraining(steps=2, batch=8), "cpu")
    train_readout(trainer, RunOptions(folder=folder))
    return readout


def appearance_run(folder: Path) -> torch.nn.Module:
    module = PromptedPalette(2, 384, width=16)
    palettes = Palettes(painted(prompts=2), PAINTED.spatial_channels)
    settings = AppearanceTraining(steps=2, batch=8)
    trainer = AppearanceTrainer(module, palettes, PROMPTS, settings, "cpu")
    train_appearance(trainer, RunOptions(folder=folder))
    return module


def dynamics_run(folder: Path) -> torch.nn.Module:
    return train_square(folder, steps=2)


def distillation_run(folder: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    teacher = StreamDiT(TINY).eval().requires_grad_(False)
    settings = Distillation(teacher_steps=2, steps=2, streams=4)
    data = DistillationData(episodes=moving_square(), table=PROMPTS)
    return train_student(teacher, teacher, data, settings, RunOptions(folder=folder))


@pytest.mark.parametrize(
    "stage", [autoencoder_run, readout_run, appearance_run, dynamics_run, distillation_run]
)
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
    monkeypatch.setattr(loop, "choose_threads", lambda work, *, again: 1)
    plain = stage(tmp_path / "plain").state_dict()
    torch.manual_seed(3)
    monkeypatch.setattr(loop, "choose_threads", measured)
    trained = stage(tmp_path / "measured").state_dict()
    assert calls == [True]
    assert all(torch.equal(value, plain[name]) for name, value in trained.items())


def test_minutes_that_are_no_number_are_refused_before_the_run_begins(
    data: Path, tmp_path: Path
) -> None:
    assert main([*train_command(data, tmp_path / "run"), "--minutes", "nan"]) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train", "distill", "distill-decoder"])
def test_two_processes_do_not_work_in_one_run_folder(
    name: str, data: Path, tiny_bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = {
        "train": train_command(data, tmp_path),
        "distill": distill_command(tiny_bundle, data, tmp_path),
        "distill-decoder": decoder_command(tiny_bundle, data, tmp_path),
    }[name]
    with folder_lock(tmp_path):
        assert main(command) == 2
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
    encoder = ShardEncoder(codec, "cpu")
    first = encode_dataset(Dataset(data), encoder, tmp_path)
    path = tmp_path / "latents-00001.npz"
    path.write_bytes(path.read_bytes()[:-100])
    again = encode_dataset(Dataset(data), encoder, tmp_path)
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
    layer = torch.nn.Linear(2, 2)
    stage = StageRun(tmp_path, "stage", {"layer": layer})
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
