"""Training a whole world: in slices, from nothing, and from a trained world."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_tiny_world
from support.training import FAST, RandomEncoder, changed_weights, no_actions, same_weights

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.envs.pusht.world import WORLD
from streamdit_gym.envs.pusht_looks.definition import SPEC as LOOKS_SPEC
from streamdit_gym.envs.pusht_looks.simulator import PushTLooksSimulator
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.recipes import Recipe
from streamdit_gym.recipes.stage_settings import (
    AppearanceTraining,
    AutoencoderTraining,
    Continuation,
    ReadoutTraining,
)
from streamdit_gym.train.assembly import start_episodes
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.pipeline import train_world
from streamdit_gym.train.stage_context import RunOptions, TrainingInputs
from streamdit_gym.train.stages.readout_stage import (
    ReadoutTrainer,
    readout_errors,
    train_readout,
)
from streamdit_gym.world import World

RECIPE = Recipe(
    preset="tiny",
    autoencoder=AutoencoderTraining(steps=3, batch=6),
    dynamics=replace(FAST, steps=3),
    readout=ReadoutTraining(steps=3, batch=8),
)
CONTINUED = replace(RECIPE, continue_from=Continuation(world="tiny"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("recorded")
    record(WORLD, folder, RecordConfig(shards=2, episodes=4, steps=16))
    return Dataset(folder)


@pytest.fixture
def train(dataset: Dataset, tmp_path: Path) -> Callable[..., World | None]:
    """Return a function that trains in a run folder of a name."""

    def run(
        recipe: Recipe = RECIPE,
        base_world: World | None = None,
        name: str = "run",
        minutes: float | None = None,
        spec: Any = SPEC,
    ) -> World | None:
        inputs = TrainingInputs(
            spec=spec, dataset=dataset, make_encoder=RandomEncoder, base_world=base_world
        )
        return train_world(inputs, recipe, RunOptions(folder=tmp_path / name, minutes=minutes))

    return run


def test_a_world_is_trained_in_slices(train: Callable[..., Any], tmp_path: Path) -> None:
    assert train(minutes=0.0) is None, "no time even for the autoencoder"
    assert not (tmp_path / "run" / "world").exists()
    assert train() is not None
    world = World.from_pretrained(tmp_path / "run" / "world")
    assert world.table.phrases[0] == "stay"
    assert len(world.starts.latents) == 4, "held-out episodes lend no start frames"
    assert world.facts["heads_on_held_out_real_frames"]["success_reach_accuracy"] >= 0


def test_too_short_episodes_are_refused(train: Callable[..., Any]) -> None:
    with pytest.raises(DatasetError, match="too short episodes"):
        train(replace(RECIPE, dynamics=replace(FAST, clip_frames=17)))


def test_the_data_of_another_world_are_refused(train: Callable[..., Any]) -> None:
    with pytest.raises(DatasetError, match="another world"):
        train(spec=replace(SPEC, name="Fetch"))


def test_a_continued_world_keeps_its_autoencoder(train: Callable[..., Any]) -> None:
    base_world = make_tiny_world()
    world = train(CONTINUED, base_world)
    assert same_weights(base_world.codec, world.codec)


def test_a_continued_world_may_keep_its_readout(train: Callable[..., Any]) -> None:
    base_world = make_tiny_world()
    world = train(replace(CONTINUED, readout=ReadoutTraining(steps=0)), base_world)
    assert same_weights(base_world.readout, world.readout)


@pytest.mark.parametrize("continues", [False, True])
def test_without_a_readout_to_keep_one_must_be_trained(
    continues: bool, train: Callable[..., Any]
) -> None:
    recipe = replace(RECIPE, readout=ReadoutTraining(steps=0))
    base_world = None
    if continues:
        adapting = Continuation(world="tiny", adapt_autoencoder=True)
        recipe = replace(recipe, continue_from=adapting)
        base_world = make_tiny_world()
    with pytest.raises(StreamDiTError, match="no readout to keep"):
        train(recipe, base_world)


def test_a_continued_worlds_decoder_may_be_trained_alone(train: Callable[..., Any]) -> None:
    base_world = make_tiny_world()
    train(CONTINUED, base_world)
    longer = replace(CONTINUED, continue_from=Continuation(world="tiny", decoder_steps=3))
    world = train(longer, base_world)
    assert world is not None, "the latents of the same encoder serve"
    changed = changed_weights(base_world.codec, world.codec)
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_a_continued_worlds_autoencoder_may_adapt(train: Callable[..., Any]) -> None:
    base_world = make_tiny_world()
    recipe = replace(RECIPE, continue_from=Continuation(world="tiny", adapt_autoencoder=True))
    world = train(recipe, base_world)
    changed = changed_weights(base_world.codec, world.codec)
    assert any(name.startswith("encoder.") for name in changed)


def test_a_new_transformer_may_learn_behind_a_trained_autoencoder(
    train: Callable[..., Any],
) -> None:
    base_world = make_tiny_world()
    size = base_world.model.config
    base_world = replace(base_world, model=StreamDiT(replace(size, depth=1)))
    continuation = Continuation(world="tiny", new_transformer=True)
    flow = replace(RECIPE.dynamics, objective="flow", micro_steps=8)
    world = train(replace(RECIPE, continue_from=continuation, dynamics=flow), base_world)
    assert same_weights(base_world.codec, world.codec)
    assert world.model.config == replace(size, sees_noise=True, micro_steps=8)


def test_a_regression_and_a_flow_do_not_go_on_with_each_others_transformer(
    train: Callable[..., Any],
) -> None:
    base_world = make_tiny_world()
    flow = replace(RECIPE.dynamics, objective="flow")
    with pytest.raises(StreamDiTError, match="another objective"):
        train(replace(CONTINUED, dynamics=flow), base_world)
    config = replace(base_world.model.config, sees_noise=True)
    base_world = replace(base_world, model=StreamDiT(config))
    with pytest.raises(StreamDiTError, match="another objective"):
        train(CONTINUED, base_world)


def test_a_recipe_and_its_world_belong_together(train: Callable[..., Any]) -> None:
    with pytest.raises(StreamDiTError, match="belong together"):
        train(CONTINUED)
    with pytest.raises(StreamDiTError, match="belong together"):
        train(RECIPE, make_tiny_world())


def test_hard_starts_are_no_start_frames() -> None:
    assert start_episodes({"episodes": 4, "drilled": 1}, 9) == [0, 1, 2, 4, 5, 6, 8]
    assert start_episodes({"episodes": 4}, 9) == list(range(9)), "an older data set"


def test_the_readout_can_learn_the_state(tmp_path: Path) -> None:
    torch.manual_seed(0)
    latents = torch.randn(8, 16, 8, 8, 8)
    states = latents[:, :, :2].mean((3, 4)) * 30 + 5
    success = (states[..., 1] > 5).float()
    nothing = torch.zeros(8, 16, dtype=torch.long)
    episodes = LatentEpisodes(
        latents=latents.half(),
        prompts=nothing,
        states=states,
        scores=torch.stack([states[..., 0], success], -1),
        **no_actions(8, 16),
    )
    config = ReadoutConfig(
        width=16, state_names=("x", "y"), score_names=("potential_a", "success_a")
    )
    readout = Readout(config)
    before = readout_errors(readout, episodes, "cpu")["x_error"]
    settings = ReadoutTraining(steps=150, batch=64, latent_noise=0.0)
    trainer = ReadoutTrainer(readout, episodes, settings, "cpu")
    assert train_readout(trainer, RunOptions(folder=tmp_path))
    errors = readout_errors(readout, episodes, "cpu")
    assert errors["x_error"] < 0.5 * before
    assert errors["success_a_accuracy"] > 0.75


# --- a world of many colours, continued from a plain one ---------------------------------------

PAINTED_SPEC = replace(LOOKS_SPEC, also=())  # without painted episodes no colours are named
PAINTED_WORLD = WorldDefinition.of(
    PAINTED_SPEC, make_simulator=PushTLooksSimulator, starts={"uniform": 1.0}
)
PAINTED = Recipe(
    preset="tiny",
    continue_from=Continuation(world="tiny", adapt_autoencoder=True),
    autoencoder=AutoencoderTraining(steps=2, batch=6),
    dynamics=replace(FAST, steps=2),
    readout=ReadoutTraining(steps=2, batch=8),
    appearance=AppearanceTraining(channels=3, steps=2, batch=8),
)


class PaintedRun:
    """A plain world, and trainings of a painted one that continue from it in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plain = make_tiny_world()
        self.data = folder / "data"
        config = RecordConfig(shards=2, episodes=2, steps=12)
        record(PAINTED_WORLD, self.data, config)
        self.world = self.train()

    def train(
        self, recipe: Recipe = PAINTED, base_world: World | None = None, name: str = "run"
    ) -> World:
        inputs = TrainingInputs(
            spec=PAINTED_SPEC,
            dataset=Dataset(self.data),
            make_encoder=RandomEncoder,
            base_world=base_world or self.plain,
        )
        world = train_world(inputs, recipe, RunOptions(folder=self.folder / name))
        assert world is not None
        return world


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> PaintedRun:
    torch.manual_seed(0)
    return PaintedRun(tmp_path_factory.mktemp("painted"))


def test_a_painted_world_has_more_channels_than_the_plain_one(painted: PaintedRun) -> None:
    world = World.from_pretrained(painted.folder / "run" / "world")
    assert world.codec.channels == world.model.config.channels == 11
    assert world.codec.spatial_channels == 8
    assert world.starts.latents.shape[1:] == (11, 8, 8)
    assert world.readout.config.channels == 8, "rewards are no matter of colours"


def test_a_painted_worlds_places_are_those_of_the_plain_frames(painted: PaintedRun) -> None:
    with np.load(painted.folder / "run" / "latents" / "latents-00000.npz") as file:
        latents = torch.from_numpy(file["latents"]).float()
    plain = torch.from_numpy(Dataset(painted.data).base_frames(0))
    expected = painted.plain.codec.encode(plain)
    torch.testing.assert_close(latents[:, :, :8], expected, atol=0.05, rtol=0.05)


def test_a_painted_world_may_keep_the_plain_ones_readout(painted: PaintedRun) -> None:
    world = painted.train(replace(PAINTED, readout=ReadoutTraining(steps=0)))
    assert same_weights(world.readout, painted.plain.readout)


def test_prompts_may_be_learned_longer_than_in_an_earlier_call(painted: PaintedRun) -> None:
    longer = AppearanceTraining(channels=3, steps=4, batch=8)
    world = painted.train(replace(PAINTED, appearance=longer))
    before = painted.world.model.global_predictor.queries
    assert not torch.equal(world.model.global_predictor.queries, before)


def test_weights_are_interpolated_with_the_continued_ones(painted: PaintedRun) -> None:
    continuation = Continuation(world="tiny", adapt_autoencoder=True, weight_interpolation=0.75)
    world = painted.train(replace(PAINTED, continue_from=continuation))
    trained = painted.world.model.embed.weight
    plain = painted.plain.model.embed.weight
    assert not torch.equal(trained, plain)
    torch.testing.assert_close(world.model.embed.weight, 0.25 * trained + 0.75 * plain)


def test_a_painted_world_streams(painted: PaintedRun) -> None:
    world = str(painted.folder / "run" / "world")
    envs = StreamDiTVectorEnv(2, world=world, observation="latent")
    assert envs.reset(seed=0)[0].shape == (2, 11, 8, 8)
    envs.close()


def test_a_run_folder_keeps_its_number_of_channels(painted: PaintedRun) -> None:
    more = AppearanceTraining(channels=6, steps=2, batch=8)
    with pytest.raises(StreamDiTError, match="another run folder"):
        painted.train(replace(PAINTED, appearance=more))


def test_a_painted_world_gets_no_second_palette(painted: PaintedRun) -> None:
    with pytest.raises(StreamDiTError, match="already"):
        painted.train(PAINTED, base_world=painted.world, name="twice")


def test_a_painted_world_is_continued_without_the_plain_frames(
    painted: PaintedRun, tmp_path: Path
) -> None:
    shutil.move(painted.data / "plain", tmp_path / "plain")
    try:
        with pytest.raises(DatasetError, match="base world"):
            painted.train(name="other")
        kept = Continuation(world="painted", weight_interpolation=1.0)
        recipe = replace(
            PAINTED, continue_from=kept, appearance=AppearanceTraining(steps=2, batch=8)
        )
        world = painted.train(recipe, base_world=painted.world, name="on")
    finally:
        shutil.move(tmp_path / "plain", painted.data / "plain")
    assert torch.equal(world.model.embed.weight, painted.world.model.embed.weight)
