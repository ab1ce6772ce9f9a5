"""Generated data sets after damage, full disks, kills and episodes that are not finite."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.generated import KINDS, contents, copy_of, need, small
from support.kills import KILLS, survive

from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import (
    StorageError,
)
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.dataset_report import inspect_dataset
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.session import Session


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        *((kind, "foreign") for kind in KINDS),
        ("mkv", "deleted"),
        ("mp4", "deleted"),
        ("lerobot", "cut"),
        ("mp4", "extra"),
    ],
)
def test_a_damaged_film_is_told_and_made_anew(
    kind: str, damage: str, generated_sets: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    folder = copy_of(generated_sets, kind, tmp_path)
    before = contents(folder)
    films = sorted(
        path
        for path in folder.rglob("*00001*")
        if path.suffix in (".mkv", ".mp4", ".tar") and path.parent.name != kind
    )
    film = films[0]
    whole = film.read_bytes()
    film.unlink()  # other names of the same file keep their content
    if damage == "cut":
        film.write_bytes(whole[: len(whole) // 2])
    elif damage == "foreign":
        other = bytearray(whole)
        other[len(whole) // 2] ^= 255
        film.write_bytes(bytes(other))
    elif damage == "extra":
        film.write_bytes(whole)
        shutil.copy(film, film.with_name("00001-007.mp4"))
    told = [text for text in inspect_dataset(folder).damage if "shard 1" in text]
    assert len(told) == 1
    assert told[0].endswith("call generate again")
    generate(small(tiny_bundle), folder, kind=kind)
    assert inspect_dataset(folder).damage == []
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["shard-00001.npz", "shard-00001.json", "manifest.jsonl"])
def test_other_files_are_verified_likewise(
    name: str, generated_sets: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    folder = copy_of(generated_sets, "mkv", tmp_path)
    before = contents(folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    assert any("call generate again" in text for text in inspect_dataset(folder).damage)
    generate(small(tiny_bundle), folder)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("kind", "error"),
    [("lerobot", OSError(28, "No space left")), ("mkv", OSError(30, "Read-only file system"))],
)
def test_a_disk_that_takes_nothing_more_is_told(
    kind: str, error: OSError, tiny_bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(kind)
    writes = []

    def refuse(*_: Any, **__: Any) -> None:
        writes.append(1)
        raise error

    with monkeypatch.context() as full:
        full.setattr("numpy.savez_compressed", refuse)
        with pytest.raises(StorageError, match=r"cannot write[\s\S]*call again"):
            generate(small(tiny_bundle), tmp_path / "set", kind=kind)
    assert writes
    generate(small(tiny_bundle), tmp_path / "set", kind=kind)
    assert inspect_dataset(tmp_path / "set").damage == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_after_kills_the_data_are_those_of_an_undisturbed_run(
    kind: str, tiny_bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(kind)
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    options = f"--episodes 12 --steps 6 --set batch=2 --format {kind} --device cpu"
    arguments = ["generate", tiny_bundle, *options.split()]
    arguments += ["--keep-if", "self_consistency_error_max>0", "--out"]
    command = [sys.executable, "-W", "ignore", "-m", "streamdit_gym", *arguments]
    survival = survive([*command, str(tmp_path / "killed")], longest_s=8, kills=KILLS)
    assert "12 of 12 episodes kept" in survival.output
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert inspect_dataset(tmp_path / "killed").damage == []
    for position in range(6):
        pair = [Dataset(tmp_path / name).shard(position) for name in ("killed", "whole")]
        first, second = (dataclasses.asdict(shard) for shard in pair)
        assert all(
            np.array_equal(first[name], second[name]) for name in first if first[name] is not None
        )


def test_an_episode_that_is_not_finite_is_told_and_not_kept(
    tiny_bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(tiny_bundle, episodes=3, batch=3)
    generate(config, tmp_path / "whole")
    tick = Engine.tick

    def spoiled(engine: Engine, session: Session, *arguments: Any) -> Any:
        clean = tick(engine, session, *arguments)
        session.references[1] = torch.nan
        return clean

    monkeypatch.setattr(Engine, "tick", spoiled)
    assert generate(config, tmp_path / "spoiled").num_kept == 2
    lines = (tmp_path / "spoiled" / "manifest.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [row["world_fault"] for row in rows] == [False, True, False]
    assert [row["kept"] for row in rows] == [True, False, True]
    whole = Dataset(tmp_path / "whole").shard(0).frames
    assert (Dataset(tmp_path / "spoiled").shard(0).frames == whole[[0, 2]]).all()
