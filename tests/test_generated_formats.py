"""Every format of a generated data set is read back by somebody else's library."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support.generated import SMALL

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.formats import FORMATS
from streamdit_gym.data.formats.lerobot_statistics import QUANTILES, picture_statistics
from streamdit_gym.data.formats.minari import episode_buffer
from streamdit_gym.data.video import read_video
from streamdit_gym.envs.pusht.definition import ACTION_VECTORS, SPEC
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.train.dataset_checks import check_dataset, held_out_shards


@pytest.mark.parametrize("kind", [name for name in FORMATS if name != "mkv"])
def test_every_format_holds_the_same_and_can_be_trained_on(
    kind: str, lossless: Path, tmp_path: Path
) -> None:
    if kind == "lerobot":
        pytest.importorskip("pyarrow")
    if kind == "minari":
        pytest.importorskip("minari")
    generate(SMALL, tmp_path, kind=kind)
    made, truth = Dataset(tmp_path), Dataset(lossless)
    check_dataset(made, SPEC)
    assert held_out_shards(made) >= 1
    for i in range(3):
        shard, other = made.shard(i), truth.shard(i)
        frames = other.frames[:, : shard.frames.shape[1]]
        assert np.abs(shard.frames.astype(int) - frames).mean() < (
            1e-9 if kind == "minari" else 2.5
        )
        steps = shard.frames.shape[1] - 1
        assert (shard.actions == other.actions[:, :steps]).all()
        assert (shard.states == other.states[:, : steps + 1]).all()


def test_lerobots_layout_is_read_by_pyarrow_and_pyav(lossless: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    av = pytest.importorskip("av")
    generate(SMALL, tmp_path, kind="lerobot", keep_if="self_consistency_error>=0")
    place = tmp_path / "lerobot"
    info = json.loads((place / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (5, 40, 10)
    tasks = parquet.read_table(place / "meta/tasks.parquet").to_pandas() if _has("pandas") else None
    names = parquet.read_table(place / "meta/tasks.parquet").to_pydict()
    episodes = parquet.read_table(place / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    truth = Dataset(lossless)
    if tasks is not None:
        assert tasks.loc[names["__index_level_0__"][0], "task_index"] == 0
    camera = "observation.images.top"
    for episode, row in zip(episodes, rows, strict=True):
        numbers = {
            "chunk_index": episode["data/chunk_index"],
            "file_index": episode["data/file_index"],
        }
        table = parquet.read_table(place / info["data_path"].format(**numbers)).to_pylist()
        frames = [r for r in table if r["episode_index"] == episode["episode_index"]]
        assert [r["index"] for r in frames] == list(
            range(episode["dataset_from_index"], episode["dataset_to_index"])
        )
        assert [names["__index_level_0__"][r["task_index"]] for r in frames] == row["prompts"]
        assert [r["next.done"] for r in frames] == [False] * 7 + [True]
        shard = truth.shard(row["shard"])
        assert np.allclose([r["observation.state"] for r in frames], shard.states[row["row"], :8])
        assert [r["menu_index"] for r in frames] == shard.actions[row["row"]].tolist()
        assert np.allclose(
            [r["action"] for r in frames], np.array(ACTION_VECTORS)[shard.actions[row["row"]]]
        )
        video = place / info["video_path"].format(
            video_key=camera,
            chunk_index=episode[f"videos/{camera}/chunk_index"],
            file_index=episode[f"videos/{camera}/file_index"],
        )
        with av.open(str(video)) as container:
            shown = [
                (float(f.pts * f.time_base), f.to_ndarray(format="rgb24"))
                for f in container.decode(video=0)
            ]
        begun, end = (
            episode[f"videos/{camera}/from_timestamp"],
            episode[f"videos/{camera}/to_timestamp"],
        )
        inside = [picture for at, picture in shown if begun - 1e-3 <= at < end - 1e-3]
        assert len(inside) == 8
        assert np.abs(np.stack(inside).astype(int) - shard.frames[row["row"], :8]).mean() < 2.5
        assert np.shape(episode[f"stats/{camera}/mean"]) == (3, 1, 1)
    stats = json.loads((place / "meta/stats.json").read_text())
    assert set(stats) == set(info["features"])
    assert info["features"]["action"] == {"dtype": "float32", "shape": [2], "names": ["x", "y"]}
    for name, feature in info["features"].items():
        shape = (3, 1, 1) if feature["dtype"] == "video" else tuple(feature["shape"])
        assert {np.shape(stats[name][kind]) for kind in stats[name] if kind != "count"} == {
            shape
        }, name
    actions = np.concatenate([truth.shard(i).actions.ravel() for i in range(3)])
    assert stats["menu_index"]["mean"][0] == pytest.approx(actions.mean())
    assert stats["menu_index"]["std"][0] == pytest.approx(actions.std())
    vectors = np.array(ACTION_VECTORS)[actions]
    assert stats["action"]["mean"] == pytest.approx(vectors.mean(0), abs=1e-6)
    assert stats["action"]["count"] == [40]


def _has(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_minari_reads_it_and_finds_the_environment(
    lossless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    generate(SMALL, tmp_path, kind="minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    dataset = minari.load_dataset("streamdit/pusht-v0")
    assert dataset.total_episodes == 5
    first, truth = next(iter(dataset.iterate_episodes([0]))), Dataset(lossless).shard(0)
    assert (first.observations == truth.frames[0]).all()
    assert (first.actions == truth.actions[0]).all()
    assert first.truncations[-1] or first.terminations[-1]
    assert bytes(first.infos["prompt"][1]).decode().strip()
    env = dataset.recover_environment()
    assert env.reset(seed=0)[0].shape == (64, 64, 3)
    for episode in dataset.iterate_episodes():
        assert all(env.action_space.contains(action) for action in episode.actions)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the library leaves its tar open
def test_webdatasets_are_tars_of_films_and_words(lossless: Path, tmp_path: Path) -> None:
    generate(SMALL, tmp_path, kind="webdataset")
    with tarfile.open(tmp_path / "shard-00000.tar") as tar:
        assert tar.getnames() == [
            "00000-000.mp4",
            "00000-000.json",
            "00000-001.mp4",
            "00000-001.json",
        ]
        said = json.load(tar.extractfile("00000-001.json"))  # type: ignore[arg-type]
    assert len(said["prompts"]) == 8
    shard = Dataset(lossless).shard(0)
    assert said["actions"] == shard.actions[1].tolist()
    assert said["states"]["pusher_x_px"] == pytest.approx(shard.states[1, :, 0])
    assert said["rewards"]["push"] == pytest.approx(shard.rewards[1, :, 0])
    assert len(said["scores"]["success_push"]) == 9
    webdataset = pytest.importorskip("webdataset")
    samples = list(
        webdataset.WebDataset(
            str(tmp_path / "webdataset" / "{00000..00002}.tar"), shardshuffle=False
        )
    )
    assert [sample["__key__"] for sample in samples] == [
        "00000-000",
        "00000-001",
        "00001-000",
        "00001-001",
        "00002-000",
    ]


def test_films_lie_beside_their_words(tmp_path: Path) -> None:
    generate(SMALL, tmp_path, kind="mp4")
    place = tmp_path / "mp4"
    rows = [json.loads(line) for line in (place / "episodes.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == [f"{number:05d}.mp4" for number in range(5)]
    for row in rows:
        assert read_video(place / row["file"]).shape == (9, 64, 64, 3)
        assert (place / row["file"]).with_suffix(".json").is_file()


def test_what_is_counted_of_pictures_is_what_numpy_says() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    frames[:, :3, :, 1] = 7
    found, flat = picture_statistics(frames), (frames / 255.0).reshape(-1, 3)
    told = {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0)}
    told |= {name: np.quantile(flat, share, axis=0) for name, share in QUANTILES.items()}
    assert set(found) == {*told, "count"}
    for name, values in told.items():
        np.testing.assert_allclose(np.ravel(found[name]), values, atol=1e-9)


def test_minari_ends_an_episode_with_its_success_and_takes_any_words() -> None:
    pytest.importorskip("minari.data_collector")
    row = {
        "seed": 3,
        "task": "push",
        "prompts": ["für", "b", "c"],
        "successes": [False, True, False],
    }
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    buffer = episode_buffer(row, frames, np.arange(3), np.ones(3))
    assert (len(buffer.observations), len(buffer.actions)) == (3, 2)
    assert (buffer.terminations, buffer.truncations) == ([False, True], [False, False])
    assert buffer.infos["prompt"][1].decode() == "für"
    failed = episode_buffer({**row, "successes": [False] * 3}, frames, np.arange(3), np.ones(3))
    assert (failed.terminations, failed.truncations) == ([False] * 3, [False, False, True])
