"""The paper's recipe: from noise to one of many futures, with the odds of the recordings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_tiny_world, wake
from support.training import FAST, PROMPTS, TINY, no_actions, take_steps, trainer_of

from streamdit_gym.bundle.networks import check_model, stored_config
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.model.preconditioning import unit_variance
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.presets import PARTITIONS, partition, partition_for
from streamdit_gym.recipes.named_recipes import recipe
from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.flow import point, velocity
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.train.dynamics_trainer import DynamicsTrainer
from streamdit_gym.train.latent_episodes import LatentEpisodes

FLOW = replace(
    FAST,
    objective="flow",
    partitions=(),
    micro_steps=8,
    sampler_time_share=0.0,
    motion_weight=0.0,
    reference_noise_share=0.0,
    rollout_probability=0.0,
    prompt_dropout=0.0,
    velocity_floor=0.1,
)
DARK_ODDS = 0.3
CELL = (4, 3)
HISTORY = 5  # frames before the one that is drawn


def coin_episodes(episodes: int = 256, length: int = 10) -> LatentEpisodes:
    """Return episodes of a cell that in every frame is dark with given odds, else bright."""
    rng = np.random.default_rng(0)
    is_dark = torch.from_numpy(rng.random((episodes, length)) < DARK_ODDS)
    latents = torch.zeros(episodes, length, 8, 8, 8)
    latents[..., CELL[0], CELL[1]] = torch.where(is_dark, -2.0, 2.0)[..., None]
    states = torch.zeros(episodes, length, 1)
    return LatentEpisodes(
        latents=latents.half(),
        prompts=torch.zeros(episodes, length, dtype=torch.long),
        states=states,
        scores=states,
        **no_actions(episodes, length),
    )


def trained_model(settings: DynamicsTraining, steps: int) -> StreamDiT:
    torch.manual_seed(0)
    config = replace(
        TINY,
        sees_noise=settings.objective == "flow",
        micro_steps=settings.micro_steps,
        refiner_channels=0,
    )
    trainer = DynamicsTrainer(StreamDiT(config), coin_episodes(), PROMPTS, settings, "cpu")
    take_steps(trainer, steps, total=steps)
    return trainer.model.eval()


def brightness_of_futures(model: StreamDiT, futures: int) -> torch.Tensor:
    """Return how bright the cell is in the next frame, in futures of one start."""
    partition = replace(PARTITIONS["reactive"], micro_steps=model.config.micro_steps)
    engine = Engine(model, PROMPTS, partition, idle=0)
    history = coin_episodes(1).latents[:, :HISTORY].float()
    latents = history.expand(futures, -1, -1, -1, -1)
    prompts = torch.zeros(futures, HISTORY, dtype=torch.long)
    session = engine.start(latents, prompts, Noise.seeded(range(futures)))
    frame = engine.tick(session, prompts[:, 0])[:, 0]
    return frame[:, :, *CELL].mean(1)


@pytest.mark.slow
def test_a_flow_draws_one_of_two_futures_with_their_odds_and_a_regression_does_not() -> None:
    settings = replace(FLOW, clips=16, clip_frames=6, muon_rate=1e-2)
    brightness = brightness_of_futures(trained_model(settings, 100), 400)
    assert (brightness < 0).float().mean() == pytest.approx(DARK_ODDS, abs=0.1)
    assert (brightness.abs() > 1).float().mean() > 0.9

    regression = replace(settings, objective="regression", micro_steps=1, sampler_time_share=1.0)
    brightness = brightness_of_futures(trained_model(regression, 50), 20)
    assert brightness.std() < 1e-4


def futures_of(config: StreamDiTConfig) -> torch.Tensor:
    """Return the next frame of one start under two noises, of random weights."""
    torch.manual_seed(0)
    model = StreamDiT(config)
    wake(model)
    engine = Engine(model.eval(), PROMPTS, Partition(references=4), idle=0)
    latents = torch.randn(1, 5, 8, 8, 8).expand(2, -1, -1, -1, -1)
    prompts = torch.zeros(2, 5, dtype=torch.long)
    session = engine.start(latents, prompts, Noise.seeded([1, 2]))
    return engine.tick(session, prompts[:, 0])


def test_one_evaluation_sees_the_noise_that_it_begins_with_only_in_a_flow() -> None:
    first, second = futures_of(TINY)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)
    first, second = futures_of(replace(TINY, sees_noise=True))
    assert (first - second).abs().max() > 0.01


@pytest.mark.parametrize("time", [0.0, 0.3, 1.0])
def test_the_input_has_unit_variance_at_every_noise_level(time: float) -> None:
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 4, 8, 8, 32, 32)
    times = torch.full((4, 8), time)
    scaled = unit_variance(point(clean, noise, times), times)
    assert scaled.std().item() == pytest.approx(1.0, abs=0.01)


def test_the_loss_is_the_plain_squared_error_of_velocities() -> None:
    trainer = trainer_of(replace(FLOW, velocity_floor=1e-4))
    rollouts = trainer.sampler.next_window(1.0, None)
    inputs, _ = trainer._window_inputs(rollouts, at_sampler_times=False)
    loss, predicted = trainer.loss_of(inputs)
    errors = []
    for row in range(len(predicted)):
        for frame in range(predicted.shape[1]):
            if inputs.is_target[row, frame]:
                true = velocity(inputs.target[row, frame], inputs.noise[row, frame])
                errors.append((predicted[row, frame] - true).square().mean().item())
            else:
                errors.append(0.0)
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-3)


def test_named_partitions_take_the_micro_steps_of_the_world() -> None:
    world = make_tiny_world()
    assert partition_for(world, "reactive") == partition("reactive")
    flow = StreamDiT(replace(TINY, micro_steps=8))
    student = StreamDiT(replace(TINY, micro_steps=2))
    world = replace(world, model=flow, pipelined_model=student)
    assert str(partition_for(world, "reactive")) == "K4N1c1s8"
    assert str(partition_for(world, "pipelined")) == "K4N4c1s2"
    assert str(partition_for(world, "K4N1c1s3")) == "K4N1c1s3"
    assert partition_for(world, Partition(references=2)) == Partition(references=2)


def test_bundles_hold_the_kind_of_sampling_and_older_ones_are_regressions() -> None:
    flow = StreamDiTConfig(sees_noise=True, micro_steps=8)
    assert check_model("model", stored_config(flow)) == flow
    stored = stored_config(StreamDiTConfig())
    assert not {"sees_noise", "micro_steps"} & set(stored)
    assert check_model("model", stored) == StreamDiTConfig()


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(StreamDiTError, match="objective"):
        DynamicsTraining(objective="diffusion")


def test_the_flow_recipe_weighs_every_latent_alike() -> None:
    dynamics = recipe("flow").dynamics
    assert dynamics.objective == "flow"
    # a weight that depends on the recorded future would change the odds
    assert dynamics.motion_weight == 0
    assert dynamics.rollout_probability == 0
