"""What `generate` leaves on disk: numbered without holes, and only what others read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.generated import KINDS, contents, copy_of, need, small

from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import (
    BusyError,
)
from streamdit_gym.files import folder_lock, replace_folder
from streamdit_gym.generate.dataset_builder import generate


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
    kind: str, tiny_bundle: str, generated_sets: dict[str, Path], tmp_path: Path
) -> None:
    need(kind)
    rows = [
        json.loads(line)
        for line in (generated_sets["mkv"] / "manifest.jsonl").read_text().splitlines()
    ]
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
    generated_sets: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    folder = copy_of(generated_sets, "webdataset", tmp_path)
    generate(small(tiny_bundle, episodes=8), folder, kind="webdataset")
    generate(small(tiny_bundle, episodes=8), tmp_path / "at once", kind="webdataset")
    assert contents(folder) == contents(tmp_path / "at once")


def test_nothing_but_the_format_lies_where_others_read(generated_sets: dict[str, Path]) -> None:
    pytest.importorskip("pyarrow")
    names = {
        path.relative_to(generated_sets["lerobot"] / "lerobot").parts[0]
        for path in (generated_sets["lerobot"] / "lerobot").rglob("*")
    }
    assert names == {"README.md", "data", "meta", "videos"}
    card = (generated_sets["lerobot"] / "lerobot" / "README.md").read_text()
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
    generated_sets: dict[str, Path], tiny_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(generated_sets["minari"] / "minari"))
    dataset = minari.load_dataset("streamdit/pusht-v0")
    env = dataset.recover_environment()
    assert env.spec.kwargs["world"] == tiny_bundle
    assert env.action_space == dataset.action_space
    actions = [action for episode in dataset.iterate_episodes() for action in episode.actions]
    assert len(actions) == 20
    assert all(dataset.action_space.contains(action) for action in actions)
