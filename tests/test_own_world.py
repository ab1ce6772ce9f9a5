"""A world with continuous actions and rewards of its own, from its recording to its frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from support.box_world import BOX_WORLD, SIZE, record_box_world
from support.training import FAST, RandomEncoder

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import DatasetError
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.presets import PARTITIONS, sizes_for
from streamdit_gym.recipes import Recipe, recipe
from streamdit_gym.recipes.stage_settings import (
    AutoencoderTraining,
    Continuation,
    ReadoutTraining,
    TransitionTraining,
)
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.train.dataset_checks import check_actions, check_length
from streamdit_gym.train.film_strip import film_strip
from streamdit_gym.train.phrases import prompt_source
from streamdit_gym.train.pipeline import train_world
from streamdit_gym.train.prompt_corruption import PromptCorruption, without_some_prompts
from streamdit_gym.train.stage_context import RunOptions, TrainingInputs
from streamdit_gym.train.stages.latents_stage import ShardEncoder, encode_dataset
from streamdit_gym.world import World

TINY_RECIPE = Recipe(
    preset="tiny",
    autoencoder=AutoencoderTraining(steps=3, batch=6, weighting="motion", standardise=True),
    readout=ReadoutTraining(steps=3, batch=8),
    transitions=TransitionTraining(steps=3, batch=8),
    dynamics=replace(FAST, steps=3, partitions=(("K1N2c1s1", 0.5),), corruption="none"),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return record_box_world(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def bundle(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    inputs = TrainingInputs(spec=BOX_WORLD.spec, dataset=dataset, make_encoder=RandomEncoder)
    assert train_world(inputs, TINY_RECIPE, RunOptions(folder=folder)) is not None
    return folder / "world"


def edit_arrays(dataset: Dataset, folder: Path, **arrays: np.ndarray) -> Dataset:
    """Return a copy of a data set whose shards all have other arrays."""
    for path in dataset.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for path in folder.glob("shard-*.npz"):
        with np.load(path) as file:
            content = dict(file)
        np.savez(path, **{**content, **arrays})
    return Dataset(folder)


def test_an_own_world_is_trained_by_the_generic_recipe() -> None:
    assert BOX_WORLD.recipe == "own_world"
    generic = recipe("own_world")
    assert generic.dynamics.corruption == "none"
    assert generic.autoencoder.weighting == "motion"


def test_its_bundle_holds_latents_as_they_were_trained_on(dataset: Dataset, bundle: Path) -> None:
    codec = World.from_pretrained(str(bundle)).codec
    frames = torch.from_numpy(dataset.shard(0).frames)
    latents = codec.encode(frames).flatten(0, 1)
    mean_by_cell = latents.mean(0)
    ground = mean_by_cell.square().mean()
    moving = (latents - mean_by_cell).square().mean()
    assert ground < 0.2 * moving
    assert 0.5 < moving < 1.5


def test_a_world_that_keeps_an_autoencoder_keeps_its_latents(
    dataset: Dataset, bundle: Path, tmp_path: Path
) -> None:
    base = World.from_pretrained(str(bundle))
    recipe = replace(TINY_RECIPE, continue_from=Continuation(world=str(bundle), decoder_steps=2))
    inputs = TrainingInputs(
        spec=BOX_WORLD.spec, dataset=dataset, make_encoder=RandomEncoder, base_world=base
    )
    world = train_world(inputs, recipe, RunOptions(folder=tmp_path))
    assert world is not None
    frames = torch.from_numpy(dataset.shard(0).frames)
    assert torch.equal(world.codec.encode(frames), base.codec.encode(frames))


def test_its_bundle_reads_transitions(bundle: Path) -> None:
    world = World.from_pretrained(bundle)
    assert world.transitions is not None
    before, after = torch.randn(2, 3, *world.starts.latents.shape[1:])
    reward, end_logit = world.transitions(before, after, torch.zeros(3, 2))
    assert reward.shape == end_logit.shape == (3,)
    measured = world.facts["transitions_on_held_out_real_frames"]
    assert set(measured) == {"reward_correlation", "false_ends_per_1000_steps", "ends_read"}


def test_its_engine_takes_values_of_the_box(bundle: Path) -> None:
    world = World.from_pretrained(bundle)
    engine = Engine(world.model, world.prompts, PARTITIONS["reactive"])
    positions = torch.tensor([[0.0, 0.0], [3.5, 1.25]])
    session = engine.start(world.starts.latents[:2, None], positions[:, None], Noise.seeded([0, 1]))
    latents = engine.tick(session, positions)
    frames = world.codec.decode(latents)
    assert frames.shape == (2, 1, SIZE, SIZE, 3)
    assert torch.isfinite(latents).all()


def test_film_strips_begin_with_the_idle_action(
    dataset: Dataset, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_with = []

    class WatchedEngine(Engine):
        def start(self, latents: Any, prompts: Any, *others: Any, **more: Any) -> Any:
            begun_with.append(prompts)
            return super().start(latents, prompts, *others, **more)

    monkeypatch.setattr("streamdit_gym.train.film_strip.Engine", WatchedEngine)
    world = World.from_pretrained(str(bundle))
    episodes = encode_dataset(dataset, ShardEncoder(world.codec, "cpu"), tmp_path)
    source = prompt_source(world.spec, world.table)
    film_strip(world.model, world.codec, source, episodes, "cpu")
    assert len(begun_with) == 1
    idle = torch.as_tensor(BOX_WORLD.spec.actions.positions(BOX_WORLD.spec.actions.idle))
    assert torch.equal(begun_with[0], idle.expand_as(begun_with[0]))
    assert idle.any(), "a position of zero is an end of the box"


def test_its_environment_takes_actions_of_the_box(bundle: Path) -> None:
    env = gymnasium.make("StreamDiT/World-v0", world=str(bundle))
    frame, _ = env.reset(seed=0)
    assert frame.shape == (SIZE, SIZE, 3)
    frame, reward, terminated, truncated, _ = env.step(np.array([0.5, -1.0], dtype=np.float32))
    assert frame.shape == (SIZE, SIZE, 3)
    assert np.isfinite(reward)
    assert {type(terminated), type(truncated)} <= {bool, np.bool_}
    env.close()


def test_no_dimension_of_a_prompt_is_hidden(bundle: Path) -> None:
    prompts = World.from_pretrained(bundle).prompts
    positions = torch.rand(6, 4, 2)
    conditioning = prompts.distinct(positions)
    corruption = PromptCorruption.of_prompts(prompts, noise=0.5, token_dropout=1.0)
    corrupted = corruption(conditioning)
    assert corrupted.mask.all()
    noise = (corrupted.tokens - conditioning.tokens).std()
    assert noise < 0.1 * conditioning.tokens.std(), "a value is hardly blurred"


def test_some_prompts_of_a_box_are_missing() -> None:
    dropped = without_some_prompts(torch.zeros(50, 20, 2), 0.2).isnan()
    assert torch.equal(dropped[..., 0], dropped[..., 1])
    assert 0.1 < dropped.float().mean() < 0.3


def test_episodes_hold_the_actions_and_what_they_earned(dataset: Dataset, tmp_path: Path) -> None:
    config = sizes_for("tiny", BOX_WORLD.frame_size).codec
    assert config is not None
    codec = ConvCodec(config).eval()
    episodes = encode_dataset(dataset, ShardEncoder(codec, "cpu"), tmp_path)
    shard = dataset.shard(0)
    assert episodes.prompts[:, 0].isnan().all()
    assert not episodes.prompts[:, 1:].isnan().any()
    np.testing.assert_allclose(episodes.actions[:4, 1:], shard.actions, atol=1e-6)
    np.testing.assert_allclose(episodes.rewards[:4, 1:], shard.rewards)
    assert episodes.lengths[:4].tolist() == (shard.lengths + 1).tolist()
    last = episodes.lengths - 1
    ended = episodes.terminated[torch.arange(len(episodes)), last]
    assert ended[:4].tolist() == shard.terminated.tolist()
    assert episodes.terminated.sum() == ended.sum()


def test_a_dimension_that_never_varies_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    actions = dataset.arrays(0)["actions"].copy()
    actions[..., 1] = 0.5
    with pytest.raises(DatasetError, match="down never varies"):
        check_actions(edit_arrays(dataset, tmp_path, actions=actions))
    check_actions(dataset)


def test_episodes_of_one_frame_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    lengths = np.array([20, 0, 20, 20], dtype=np.int32)
    with pytest.raises(DatasetError, match="single frame"):
        check_length(edit_arrays(dataset, tmp_path, lengths=lengths), 4)


def test_episodes_that_end_too_early_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    lengths = np.full(4, 5, dtype=np.int32)
    short = edit_arrays(dataset, tmp_path, lengths=lengths)
    check_length(short, 5)
    with pytest.raises(DatasetError, match="too short episodes"):
        check_length(short, 6)
