"""Data sets that are drawn as clips, and episodes whose first frames are drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.generated import KINDS, need, small
from support.pushed_dot import make_dot_world

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import ArgumentError, DatasetError, UnknownNameError
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.dataset_report import inspect_dataset
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.stream.clip import CLIP_FRAMES, ClipSampler, PromptedFrames
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world import World

LINES = [["move up", "move left", "stay", "move down"], ["move right"]]


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompts": line}) + "\n" for line in LINES))
    return str(path)


def clips(bundle: str, **changes: Any) -> GenerateConfig:
    settings = {"clip": 3, "clip_micro_steps": 2, "episodes": 2, "steps": 4, **changes}
    if settings["clip"] is None:
        settings.pop("clip_micro_steps")
    return small(bundle, **settings)


def told(world: World, steps: int) -> torch.Tensor:
    texts = [[line[step % len(line)] for step in range(steps)] for line in LINES]
    return torch.stack([world.table.rows(line) for line in texts])


def sampler_of(world: World) -> ClipSampler:
    engine = Engine(world.model, world.prompts, Partition(references=4))
    return ClipSampler(engine.sampler, clip_frames=3, micro_steps=2)


@torch.no_grad()
def decoded(world: World, latents: torch.Tensor) -> np.ndarray:
    return world.codec.decode(latents).numpy().astype(int)


def test_episodes_are_clips_behind_start_frames(
    prompts: str, tiny_bundle: str, tmp_path: Path
) -> None:
    generate(clips(tiny_bundle, policy=prompts), tmp_path / "out")
    world = World.from_pretrained(tiny_bundle)
    rng = np.random.default_rng([0, 0])
    bank = world.starts.latents
    first = bank[torch.from_numpy(rng.integers(len(bank), size=2))][:, None]
    noise = Noise.seeded(rng.integers(2**63, size=2).tolist())
    start = PromptedFrames(latents=first, prompts=torch.zeros(2, 1, dtype=torch.long))
    slow = torch.cat([first, sampler_of(world).draw(told(world, 4), noise, start)], 1)
    shard = Dataset(tmp_path / "out").shard(0)
    assert shard.frames.shape[:2] == (2, 5)
    assert np.abs(shard.frames.astype(int) - decoded(world, slow)).max() <= 1
    assert shard.actions.tolist() == [[1, 7, 0, 5], [3, 3, 3, 3]]


def test_first_frames_are_drawn_with_the_idle_prompt(
    prompts: str, tiny_bundle: str, tmp_path: Path
) -> None:
    generate(clips(tiny_bundle, policy=prompts, start="drawn"), tmp_path / "out")
    world = World.from_pretrained(tiny_bundle)
    noise = Noise.seeded(np.random.default_rng([0, 0]).integers(2**63, size=2).tolist())
    rows = torch.cat([torch.zeros(2, 1, dtype=torch.long), told(world, 4)], 1)
    slow = sampler_of(world).draw(rows, noise)
    shard = Dataset(tmp_path / "out").shard(0)
    assert np.abs(shard.frames.astype(int) - decoded(world, slow)).max() <= 1
    assert shard.actions.tolist() == [[1, 7, 0, 5], [3, 3, 3, 3]]


def test_streams_begin_with_drawn_frames(prompts: str, tiny_bundle: str, tmp_path: Path) -> None:
    config = small(tiny_bundle, policy=prompts, start="drawn", episodes=2)
    generate(config, tmp_path / "out")
    world = World.from_pretrained(tiny_bundle)
    engine = Engine(world.model, world.prompts, Partition(references=4))
    noise = Noise.seeded(np.random.default_rng([0, 0]).integers(2**63, size=2).tolist())
    idle = engine.idle_prompts(2, CLIP_FRAMES)
    start = ClipSampler(engine.sampler).draw(idle, noise)
    session = engine.start(start, idle, noise)
    ticks = [engine.tick(session, rows) for rows in told(world, 4).T]
    slow = torch.cat([start[:, -1:], *ticks], 1)
    shard = Dataset(tmp_path / "out").shard(0)
    assert np.abs(shard.frames.astype(int) - decoded(world, slow)).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_of_clips_is_like_any_other(
    kind: str, generated_sets: dict[str, Path], tiny_bundle: str, tmp_path: Path
) -> None:
    need(kind)
    folder = tmp_path / "out"
    generate(clips(tiny_bundle, episodes=5, start="drawn"), folder, kind=kind)
    report = inspect_dataset(folder)
    assert report.damage == []
    assert report.quality.keys() == inspect_dataset(generated_sets[kind]).quality.keys()
    streamed = {path.name for path in generated_sets[kind].iterdir()}
    assert {path.name for path in folder.iterdir()} == streamed
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert all(row["quality"]["self_consistency_error"] > 0 for row in rows)


def test_continuous_actions_prompt_clips(tmp_path: Path) -> None:
    make_dot_world().save_pretrained(tmp_path / "dot")
    generate(clips(str(tmp_path / "dot"), start="drawn"), tmp_path / "out")
    shard = Dataset(tmp_path / "out").shard(0)
    assert shard.actions.shape == (2, 4, 2)
    assert shard.frames.shape[:2] == (2, 5)


def test_a_data_set_goes_on_and_refuses_other_clips(tiny_bundle: str, tmp_path: Path) -> None:
    generate(clips(tiny_bundle), tmp_path)
    frames = Dataset(tmp_path).shard(0).frames
    assert generate(clips(tiny_bundle, episodes=4), tmp_path).num_generated == 4
    assert (Dataset(tmp_path).shard(0).frames == frames).all()
    for changes in ({"clip": None}, {"clip": 2}, {"start": "drawn"}, {"clip_micro_steps": 3}):
        with pytest.raises(DatasetError, match=f"differing in {next(iter(changes))}"):
            generate(clips(tiny_bundle, episodes=4, **changes), tmp_path)


def test_a_data_set_from_before_there_were_clips_goes_on(tiny_bundle: str, tmp_path: Path) -> None:
    generate(small(tiny_bundle, episodes=2), tmp_path)
    meta = json.loads((tmp_path / "meta.json").read_text())
    for name in ("clip", "clip_micro_steps", "start"):
        del meta["generated"][name]
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    assert generate(small(tiny_bundle, episodes=3), tmp_path).num_generated == 3


def test_an_episode_with_a_fault_is_left_out(
    prompts: str, tiny_bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = ClipSampler.clips

    def with_a_fault(self: ClipSampler, *arguments: Any) -> Any:
        for clip in draw(self, *arguments):
            clip.frames.latents[1] = torch.nan
            yield clip

    monkeypatch.setattr(ClipSampler, "clips", with_a_fault)
    assert generate(clips(tiny_bundle, policy=prompts), tmp_path / "out").num_kept == 1
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["world_fault"] for line in lines] == [False, True]


def test_policies_that_look_cannot_prompt_clips(tiny_bundle: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="look at no frame"):
        generate(clips(tiny_bundle, policy="scripted"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"clip": 0},
        {"clip": 65},
        {"clip": True},
        {"clip": "8"},
        {"clip_micro_steps": 0},
        {"clip_micro_steps": 2},
        {"clip_micro_steps": 65},
        {"start": "Drawn"},
        {"start": None},
        {"start": "drawn", "images": "pictures"},
        {"start": "drawn", "over": "clips"},
        {"clip": 8, "over": "clips"},
        {"clip": 8, "partition": "pipelined"},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((ArgumentError, UnknownNameError), match="allowed"):
        GenerateConfig(**changes)
