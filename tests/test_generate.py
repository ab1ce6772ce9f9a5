"""Generated data sets: every format read back by somebody else, resumed after a kill, trained on;
bad input is told.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from streamdit_gym import World
from streamdit_gym.agents.agent_config import AgentTraining
from streamdit_gym.agents.policies.policy_file import load_agent
from streamdit_gym.agents.train_agent import train_agent
from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.formats import FORMATS
from streamdit_gym.data.formats.lerobot_statistics import QUANTILES, picture_statistics
from streamdit_gym.data.formats.minari import episode_buffer
from streamdit_gym.data.video import read_video
from streamdit_gym.envs.pusht.definition import ACTION_VECTORS, SPEC
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.errors import (
    DatasetError,
    MissingExtraError,
    PartitionError,
    StorageError,
    StreamDiTError,
    UnknownNameError,
)
from streamdit_gym.generate.dataset_builder import GeneratedDataset, generate
from streamdit_gym.generate.dataset_report import inspect_dataset
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.generate.prompt_file import read_prompts
from streamdit_gym.generate.quality import EpisodeFilter, EpisodeQuality
from streamdit_gym.generate.ray_pool import RayPool
from streamdit_gym.generate.shard_generator import until_success
from streamdit_gym.generate.start_frames import start_images
from streamdit_gym.presets import partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.train.dataset_checks import check_dataset, held_out_shards

SMALL = GenerateConfig(episodes=5, steps=8, batch=2)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    dataset = generate(SMALL, folder)
    assert dataset == GeneratedDataset(
        num_generated=5, num_kept=5, num_frames=45, location=str(folder)
    )
    return folder


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


def test_prompts_from_a_file_are_said_and_called_by_their_action(tmp_path: Path) -> None:
    said = tmp_path / "said.jsonl"
    said.write_text('{"prompts": ["move up", "move left"]}\n\n{"prompts": ["stay"]}\n')
    assert read_prompts(said) == [["move up", "move left"], ["stay"]]
    generate(GenerateConfig(episodes=3, steps=4, batch=2, policy=str(said)), tmp_path / "out")
    shards = [Dataset(tmp_path / "out").shard(i) for i in range(2)]
    assert shards[0].actions.tolist() == [[1, 7, 1, 7], [0, 0, 0, 0]]
    assert shards[1].actions.tolist() == [[1, 7, 1, 7]]


@pytest.mark.parametrize("observation", ["state", "latent", "frame"])
def test_agents_and_scripts_play(observation: str, tmp_path: Path) -> None:
    env = "StreamDiT/PushT-Reach-v0"
    less = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
    config = AgentTraining(env=env, steps=16, num_envs=2, observation=observation, overrides=less)  # type: ignore[arg-type]
    train_agent(config, tmp_path / "agent", progress=False)
    assert load_agent(tmp_path / "agent").config == config
    for player in (str(tmp_path / "agent"), "scripted:0.2"):
        out = tmp_path / player.split(":")[0].split("/")[-1]
        made = GenerateConfig(episodes=2, steps=6, batch=2, policy=player, task="reach")
        first = generate(made, out / "a")
        torch.manual_seed(99)
        again = generate(made, out / "b")
        assert dataclasses.replace(again, location=first.location) == first
        assert (Dataset(out / "a").shard(0).frames == Dataset(out / "b").shard(0).frames).all()


def test_streams_start_from_the_users_pictures(tmp_path: Path) -> None:
    frame = PushTSimulator().reset(np.random.default_rng(3))
    wide = np.pad(frame.repeat(3, 0).repeat(3, 1), ((0, 0), (60, 60), (0, 0)))
    cv2.imwrite(str(tmp_path / "a.png"), wide[..., ::-1])
    images = start_images(tmp_path, 64)
    assert (images == frame).all(), "its middle square"
    generate(GenerateConfig(episodes=1, steps=2, batch=1, images=str(tmp_path)), tmp_path / "out")
    first = Dataset(tmp_path / "out").shard(0).frames[0, 0].astype(int)
    assert np.abs(first - frame).mean() < 2


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


def test_nothing_is_paid_after_a_success() -> None:
    tasks = sorted(SPEC.tasks)
    scores, rewards = np.zeros((2, 5, 4), np.float32), np.ones((2, 4, 2), np.float32)
    scores[0, 2:4, SPEC.score_names.index("success_push")] = 1
    scores[1, 0, SPEC.score_names.index("success_reach")] = 1  # begun so, and not done again
    paid = until_success(SPEC, rewards, scores)
    assert paid[0, :, tasks.index("push")].tolist() == [1, 1, 0, 0]
    assert (
        paid[0, :, tasks.index("reach")].tolist()
        == paid[1, :, tasks.index("reach")].tolist()
        == [1, 1, 1, 1]
    )


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


def test_a_frame_of_a_longer_buffer_stands_beside_what_it_was_born_with(
    world: World, tmp_path: Path
) -> None:
    said = tmp_path / "said.jsonl"
    lines = [["move up", "move left", "move down", "stay", "move right"], ["move right", "move up"]]
    said.write_text("".join(json.dumps({"prompts": line}) + "\n" for line in lines))
    generate(
        GenerateConfig(episodes=2, steps=5, batch=2, policy=str(said), partition="pipelined"),
        tmp_path / "out",
    )
    rng = np.random.default_rng([0, 0])
    start = world.starts.latents[torch.from_numpy(rng.integers(len(world.starts.latents), size=2))]
    cut = partition("pipelined")
    engine = Engine(world.model_for(cut), world.table, cut)
    noise = Noise.seeded(rng.integers(2**63, size=2).tolist())
    session = engine.start(start[:, None], torch.zeros(2, 1, dtype=torch.long), noise)
    late = engine.partition.chunks - 1
    ticks = []
    for step in range(5 + late):
        prompts = ["stay"] * 2 if step >= 5 else [line[step % len(line)] for line in lines]
        ticks.append(engine.tick(session, world.table.rows(prompts)))
    with torch.no_grad():
        slow = world.codec.decode(torch.cat(ticks[late:], 1)).numpy()
    made = Dataset(tmp_path / "out").shard(0)
    assert late > 0
    assert np.abs(made.frames[:, 1:].astype(int) - slow).max() <= 1
    assert made.actions.tolist() == [[1, 7, 5, 0, 3], [3, 1, 3, 1, 3]]


def test_new_phrases_depend_on_their_shard_alone(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    said = tmp_path / "said.jsonl"
    texts = [
        "drift over to the left edge, please",
        "away",
        "kindly proceed in the direction of the top, and do not stop there",
        "east",
    ]
    said.write_text("".join(json.dumps({"prompts": [text]}) + "\n" for text in texts))
    config = GenerateConfig(episodes=4, steps=4, batch=2, policy=str(said))
    generate(config, tmp_path / "out")
    truth = Dataset(tmp_path / "out").shard(1).frames
    (tmp_path / "out" / "shard-00001.json").unlink()
    generate(config, tmp_path / "out")
    assert (Dataset(tmp_path / "out").shard(1).frames == truth).all()
    said.write_text(said.read_text() + '{"prompts": ["away"]}\n')
    with pytest.raises(DatasetError, match="differing in inputs"):
        generate(config, tmp_path / "out")


def test_the_command_generates_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    options = "--episodes 2 --steps 3 --set batch=2 --policy scripted --task reach"
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
        """Writes a file per shard; the first to come to shard 2 dies of it,
        and of shard 9 everybody does.
        """

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


def test_clips_are_drawn_over_and_the_less_noise_the_more_they_stay(
    lossless: Path, tmp_path: Path
) -> None:
    truth = np.concatenate([Dataset(lossless).shard(i).frames for i in range(3)]).astype(int)
    far = []
    for strength in (0.05, 0.3, 1.0):
        config = GenerateConfig(
            episodes=5, steps=8, batch=2, seed=7, over=str(lossless), strength=strength
        )
        generate(config, tmp_path / str(strength))
        made = np.concatenate([Dataset(tmp_path / str(strength)).shard(i).frames for i in range(3)])
        assert np.abs(made[:, 0] - truth[:, 0]).mean() < 1
        far.append(np.abs(made[:, -1] - truth[:, -1]).mean())
    assert far[0] < 0.5 * far[2]
    assert far[0] < far[1] < far[2]
    with pytest.raises(StreamDiTError, match="too short"):
        generate(
            GenerateConfig(episodes=1, steps=9, batch=1, over=str(lossless)), tmp_path / "long"
        )
    made = generate(
        GenerateConfig(episodes=7, steps=3, batch=3, over=str(lossless), strength=0.05),
        tmp_path / "uneven",
    )
    again = np.concatenate(
        [Dataset(tmp_path / "uneven").shard(i).frames[:, 0] for i in range(3)]
    ).astype(int)
    assert made.num_kept == 7
    assert np.abs(again - truth[[0, 1, 2, 3, 4, 0, 1], 0]).mean() < 1, "shards of two, two and one"
    with pytest.raises(StreamDiTError, match="strength"):
        generate(
            GenerateConfig(episodes=1, steps=2, batch=1, over=str(lossless), strength=0.0),
            tmp_path / "zero",
        )
    with pytest.raises(StreamDiTError, match="N = 1"):
        generate(
            GenerateConfig(episodes=1, steps=2, batch=1, over=str(lossless), partition="pipelined"),
            tmp_path / "many",
        )
