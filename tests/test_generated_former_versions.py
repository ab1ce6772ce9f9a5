"""Generated data sets of earlier versions are read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.generated import contents, copy_of, small

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import (
    DatasetError,
)
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.dataset_report import inspect_dataset


def test_a_data_set_of_an_older_version_is_read_and_left_alone(
    generated_sets: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    folder = copy_of(generated_sets, "lerobot", tmp_path)
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
    assert (
        Dataset(folder).shard(2).frames == Dataset(generated_sets["lerobot"]).shard(2).frames
    ).all()
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
    generated_sets: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    folder = copy_of(generated_sets, "mkv", tmp_path)
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
