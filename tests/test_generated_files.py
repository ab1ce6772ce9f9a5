"""What `generate` leaves on disk: whole after kills and damage, numbered without holes,
in the exported spaces; quick worlds.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.kills import KILLS, survive

from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.formats import FORMATS
from streamdit_gym.errors import (
    BusyError,
    DatasetError,
    StorageError,
)
from streamdit_gym.files import folder_lock, replace_folder
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.dataset_report import inspect_dataset
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.session import Session

KINDS = sorted(FORMATS)
NEEDS = {"lerobot": "pyarrow", "minari": "minari"}


def small(bundle: str, **changes: Any) -> GenerateConfig:
    return GenerateConfig(**{"world": bundle, "episodes": 5, "steps": 4, "batch": 2, **changes})


def need(kind: str) -> None:
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its path, HDF5 left out:
    its bytes tell when it was written.
    """
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".hdf5"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def made(tiny_bundle: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A data set of each format that is installed here."""
    folders = {}
    for kind in KINDS:
        try:
            folder = tmp_path_factory.mktemp(kind)
            generate(small(tiny_bundle), folder, kind=kind)
            folders[kind] = folder
        except ImportError:
            continue
    return folders


def copy_of(made: dict[str, Path], kind: str, tmp_path: Path) -> Path:
    need(kind)
    shutil.copytree(made[kind], tmp_path / "set")
    return tmp_path / "set"


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
    kind: str, damage: str, made: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    folder = copy_of(made, kind, tmp_path)
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
    name: str, made: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    folder = copy_of(made, "mkv", tmp_path)
    before = contents(folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    assert any("call generate again" in text for text in inspect_dataset(folder).damage)
    generate(small(tiny_bundle), folder)
    assert contents(folder) == before


def test_one_process_at_a_time_works_in_a_folder(
    tiny_bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    with folder_lock(folder):
        with pytest.raises(BusyError, match="another process works here"):
            generate(small(tiny_bundle), folder)
        command = [
            "generate",
            tiny_bundle,
            "--episodes",
            "1",
            "--steps",
            "2",
            "--format",
            "mkv",
            "--device",
            "cpu",
            "--out",
            str(folder),
        ]
        assert main(command) == 2
        assert "another process works here" in capsys.readouterr().err
        assert list(folder.iterdir()) == []
    assert generate(small(tiny_bundle), folder).num_kept == 5


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_kept_leaves_no_holes(
    kind: str, tiny_bundle: str, made: dict[str, Path], tmp_path: Path
) -> None:
    need(kind)
    rows = [json.loads(line) for line in (made["mkv"] / "manifest.jsonl").read_text().splitlines()]
    returns = [
        max(row["quality"]["return"] for row in rows if row["shard"] == shard) for shard in range(3)
    ]
    lowest = int(
        np.argmin(returns)
    )  # a shard of which nothing is kept, and others before or behind it
    limit = sorted(returns)[0] + 1e-6
    folder = tmp_path / "set"
    result = generate(small(tiny_bundle), folder, kind=kind, keep_if=f"return>{limit:.9f}")
    kept = [row for row in rows if row["quality"]["return"] > round(limit, 9)]
    assert result.num_kept == len(kept) < 5
    assert lowest not in {row["shard"] for row in kept}
    assert len(Dataset(folder)) == len({row["shard"] for row in kept}) == 2
    names = {
        "mkv": [],
        "mp4": [f"{number:05d}.mp4" for number in range(len(kept))],
        "webdataset": ["00000.tar", "00001.tar"],
        "lerobot": ["file-000.mp4", "file-001.mp4"],
        "minari": [],
    }[kind]
    assert (
        sorted(path.name for path in (folder / kind).rglob("*") if path.suffix in (".mp4", ".tar"))
        == names
    )
    before = contents(folder)
    assert generate(small(tiny_bundle), folder, kind=kind, keep_if=f"return>{limit:.9f}") == result
    assert contents(folder) == before


def test_the_closing_message_tells_how_many_tars(
    tiny_bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "generate",
        tiny_bundle,
        "--episodes",
        "3",
        "--steps",
        "2",
        "--set",
        "batch=1",
        "--format",
        "webdataset",
        "--device",
        "cpu",
    ]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert f"{tmp_path}/webdataset/{{00000..00002}}.tar" in capsys.readouterr().out


def test_more_episodes_are_behind_the_others(
    made: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    folder = copy_of(made, "webdataset", tmp_path)
    generate(small(tiny_bundle, episodes=8), folder, kind="webdataset")
    generate(small(tiny_bundle, episodes=8), tmp_path / "at once", kind="webdataset")
    assert contents(folder) == contents(tmp_path / "at once")


def test_nothing_but_the_format_lies_where_others_read(made: dict[str, Path]) -> None:
    pytest.importorskip("pyarrow")
    names = {
        path.relative_to(made["lerobot"] / "lerobot").parts[0]
        for path in (made["lerobot"] / "lerobot").rglob("*")
    }
    assert names == {"README.md", "data", "meta", "videos"}
    card = (made["lerobot"] / "lerobot" / "README.md").read_text()
    head = card.split("---\n")[1]
    for line in (
        "license: apache-2.0",
        "- robotics",
        "- LeRobot",
        "  data_files: data/*/*.parquet",
    ):
        assert line in head


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "export"
    with replace_folder(target) as place:
        (place / "a").write_text("old")
    with pytest.raises(RuntimeError), replace_folder(target) as place:
        (place / "a").write_text("new")
        raise RuntimeError
    assert contents(tmp_path) == {"export/a": b"old"}
    with replace_folder(target) as place:
        (place / "b").write_text("new")
    assert contents(tmp_path) == {"export/b": b"new"}


def test_the_environment_of_a_world_in_a_folder_is_found_again(
    made: dict[str, Path], tiny_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(made["minari"] / "minari"))
    dataset = minari.load_dataset("streamdit/pusht-v0")
    env = dataset.recover_environment()
    assert env.spec.kwargs["world"] == tiny_bundle
    assert env.action_space == dataset.action_space
    actions = [action for episode in dataset.iterate_episodes() for action in episode.actions]
    assert len(actions) == 20
    assert all(dataset.action_space.contains(action) for action in actions)


def test_a_data_set_of_an_older_version_is_read_and_left_alone(
    made: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    folder = copy_of(made, "lerobot", tmp_path)
    meta = json.loads((folder / "meta.json").read_text())
    del meta["generated"]["layout"]
    (folder / "meta.json").write_text(json.dumps(meta))
    shutil.rmtree(folder / "lerobot")
    films = folder / "videos" / "observation.images.top" / "chunk-000"
    films.mkdir(parents=True)
    for index in range(3):
        (folder / f"shard-{index:05d}.mp4").rename(films / f"file-{index:03d}.mp4")
        record = folder / f"shard-{index:05d}.json"
        record.write_text(json.dumps(json.loads(record.read_text())["rows"]))
    assert (Dataset(folder).shard(2).frames == Dataset(made["lerobot"]).shard(2).frames).all()
    assert inspect_dataset(folder).damage == []
    before = contents(folder)
    with pytest.raises(DatasetError, match="an older version made"):
        generate(small(tiny_bundle), folder, kind="lerobot")
    assert contents(folder) == before


def rewrite_json(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def with_former_names(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the manifest as earlier versions wrote it."""
    row = dict(row)
    quality = row.pop("quality")
    row["player"] = row.pop("policy")
    row["made"] = row.pop("batch_row")
    former = {"self_consistency_error": "disagreement"}
    former["self_consistency_error_max"] = "disagreement_max"
    row["flags"] = {former.get(name, name): value for name, value in quality.items()}
    return row


def test_a_data_set_with_former_names_is_read_and_goes_on(
    made: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    folder = copy_of(made, "mkv", tmp_path)
    quality = inspect_dataset(folder).quality

    def former_meta(meta: Any) -> Any:
        generated = meta["generated"]
        generated["player"] = generated.pop("policy")
        generated["inputs"]["player"] = generated["inputs"].pop("policy")
        return meta

    def former_record(record: Any) -> Any:
        return {**record, "rows": [with_former_names(row) for row in record["rows"]]}

    rewrite_json(folder / "meta.json", former_meta)
    for path in folder.glob("shard-*.json"):
        rewrite_json(path, former_record)
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    rows = [json.dumps(with_former_names(json.loads(line))) for line in lines]
    (folder / "manifest.jsonl").write_text("".join(row + "\n" for row in rows))
    report = inspect_dataset(folder)
    assert report.damage == []
    assert report.quality == quality
    assert generate(small(tiny_bundle, episodes=7), folder).num_generated == 7
    assert inspect_dataset(folder).damage == []


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
    kind: str, tiny_bundle: str, tmp_path: Path
) -> None:
    need(kind)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "streamdit_gym",
        "generate",
        tiny_bundle,
        "--episodes",
        "12",
        "--steps",
        "6",
    ]
    command += [
        "--set",
        "batch=2",
        "--format",
        kind,
        "--keep-if",
        "self_consistency_error_max>0",
        "--device",
        "cpu",
        "--out",
    ]
    survival = survive([*command, str(tmp_path / "killed")], longest_s=8, kills=KILLS)
    assert "12 of 12 episodes kept" in survival.output
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
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
