"""Worlds whose frames are not 64 x 64: recorded, trained, saved, stepped, drawn and exported."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from gymnasium.wrappers import ResizeObservation
from support.sized_worlds import FrameSize, dot_world, train_dots

from streamdit_gym import World
from streamdit_gym.agents.features import LatentFeatures
from streamdit_gym.agents.planner import Planner
from streamdit_gym.bundle.networks import stored_config
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.definition_checks import check_definition
from streamdit_gym.data.film_strips import pairs_of_rows
from streamdit_gym.distill.decoder import with_fewer_blocks
from streamdit_gym.envs.simulator_backend import SimulatorBackend
from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import DefinitionError, ShapeError
from streamdit_gym.evaluate.metrics.pixel_metrics import disc
from streamdit_gym.evaluate.state_probe import StateProbe
from streamdit_gym.frame_sizes import check_multiples
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.live import LiveStream
from streamdit_gym.presets import PRESETS, sizes_for

GRIDS = {(64, 64): (8, 8), (96, 128): (6, 8), (128, 128): (8, 8)}
TASK: Any = {"task": "go"}


@pytest.fixture(scope="module", params=GRIDS, ids=str)
def frame_size(request: pytest.FixtureRequest) -> FrameSize:
    size: FrameSize = request.param
    return size


@pytest.fixture(scope="module")
def bundle(frame_size: FrameSize, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A world that has learned for one step, as environments load it."""
    return str(train_dots(frame_size, tmp_path_factory.mktemp("dots")))


def test_a_preset_has_networks_for_every_size(frame_size: FrameSize) -> None:
    sizes = sizes_for("small", frame_size)
    assert sizes.codec is not None
    assert sizes.codec.grid == sizes.model.grid == GRIDS[frame_size]
    assert sizes.model.num_tokens <= 16
    assert sizes.model.window == (0, *sizes.model.token_grid)


def test_every_size_that_is_proposed_is_allowed() -> None:
    sides = range(1, 200, 3)
    for size in ((height, width) for height in sides for width in sides):
        try:
            check_multiples(size)
        except ShapeError as error:
            proposed = re.findall(r"frame_size=\((\d+), (\d+)\)", str(error))[-1]
            check_multiples((int(proposed[0]), int(proposed[1])))


def test_a_wide_frame_of_as_many_pixels_has_as_many_cells() -> None:
    codec = sizes_for("small", (32, 128)).codec
    assert codec is not None
    assert codec.grid == (4, 16)


def test_a_preset_of_64_pixels_is_the_preset_itself() -> None:
    assert sizes_for("small", (64, 64)) == PRESETS["small"]


def test_square_sizes_are_stored_as_one_number() -> None:
    square = sizes_for("tiny", (64, 64)).codec
    wide = sizes_for("tiny", (96, 128)).codec
    assert square is not None
    assert wide is not None
    stored = stored_config(square)
    assert stored["size"] == 64
    assert "stride" not in stored
    assert stored_config(wide)["size"] == [96, 128]
    assert stored_config(wide)["stride"] == 16


def test_frames_are_encoded_and_decoded(bundle: str, frame_size: FrameSize) -> None:
    world = World.from_pretrained(bundle)
    frames = torch.zeros(2, 3, *frame_size, 3, dtype=torch.uint8)
    latents = world.codec.encode(frames)
    assert latents.shape == (2, 3, 8, *GRIDS[frame_size])
    assert world.codec.decode(latents).shape == frames.shape
    with pytest.raises(ShapeError, match=f"{frame_size[0]}, {frame_size[1]}, 3"):
        world.codec.encode(frames[:, :, :-8])


def test_a_bundle_comes_back_as_it_was(bundle: str, frame_size: FrameSize, tmp_path: Path) -> None:
    world = World.from_pretrained(bundle)
    world.save_pretrained(tmp_path / "again")
    again = World.from_pretrained(tmp_path / "again")
    assert again.digest == world.digest
    assert again.spec.frame_size == frame_size
    assert again.codec.config == world.codec.config
    assert again.model.config == world.model.config
    assert again.readout.config.grid == GRIDS[frame_size]
    assert again.starts.latents.shape[2:] == GRIDS[frame_size]


def test_environments_have_frames_of_that_size(bundle: str, frame_size: FrameSize) -> None:
    env = StreamDiTVectorEnv(num_envs=2, world=bundle, render_mode="rgb_array", **TASK)
    frames, _ = env.reset(seed=0)
    assert frames.shape == (2, *frame_size, 3)
    assert env.single_observation_space.shape == (*frame_size, 3)
    frames, *_ = env.step(np.array([1, 2]))
    assert env.observation_space.contains(frames)
    assert np.array_equal(env.render(), frames)


def test_an_environments_own_reward_is_read_off_frames_of_that_size(bundle: str) -> None:
    env = StreamDiTVectorEnv(num_envs=2, world=bundle, task="own")
    env.reset(seed=0)
    _, rewards, *_ = env.step(np.array([1, 1]))
    assert np.isfinite(rewards).all()


def test_a_decoder_is_halved_in_every_size(bundle: str, frame_size: FrameSize) -> None:
    codec = World.from_pretrained(bundle).codec
    shallow = with_fewer_blocks(codec, 0)
    latents = torch.randn(1, 1, 8, *codec.grid)
    assert shallow.decode(latents).shape == (1, 1, *frame_size, 3)


def test_environments_start_from_frames_of_that_size(bundle: str, frame_size: FrameSize) -> None:
    env = StreamDiTVectorEnv(num_envs=2, world=bundle, **TASK)
    start = np.full((*frame_size, 3), 200, np.uint8)
    frames, _ = env.reset(options={"init": start})
    assert frames.shape == (2, *frame_size, 3)
    height, width = frame_size
    with pytest.raises(ShapeError, match=rf"cv2.resize\(frame, \({width}, {height}\)\)"):
        env.reset(options={"init": start[:-1]})


def test_latents_can_be_observed_and_learned_from(bundle: str, frame_size: FrameSize) -> None:
    env = StreamDiTVectorEnv(num_envs=2, world=bundle, observation="latent", **TASK)
    latents, _ = env.reset(seed=0)
    assert latents.shape == (2, 8, *GRIDS[frame_size])
    space: Any = env.single_observation_space
    features = LatentFeatures(space, features_dim=5)
    assert features(torch.from_numpy(latents)).shape == (2, 5)


def test_gymnasiums_wrapper_gives_smaller_observations(bundle: str) -> None:
    env = ResizeObservation(StreamDiTEnv(world=bundle, **TASK), (48, 32))
    frame, _ = env.reset(seed=0)
    assert frame.shape == (48, 32, 3)
    assert frame.dtype == np.uint8
    frame, *_ = env.step(1)
    assert env.observation_space.contains(frame)


def test_the_simulator_is_an_environment(frame_size: FrameSize) -> None:
    backend = SimulatorBackend(dot_world(frame_size), 2)
    rngs = [np.random.default_rng(row) for row in range(2)]
    reading = backend.reset([0, 1], rngs, None)
    assert reading.observed.shape == (2, *frame_size, 3)


def test_shards_are_generated_from_pictures_of_another_shape(
    bundle: str, frame_size: FrameSize, tmp_path: Path
) -> None:
    height, width = frame_size
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "wide.png"), np.full((height, 3 * width, 3), 90, np.uint8))
    config = GenerateConfig(
        world=bundle, episodes=2, steps=3, batch=2, task="go", images=str(images)
    )
    generate(config, tmp_path / "generated")
    dataset = Dataset(tmp_path / "generated")
    assert dataset.frame_size == frame_size
    assert dataset.shard(0).frames.shape == (2, 4, *frame_size, 3)
    over = replace(config, images=None, over=str(tmp_path / "generated"), strength=0.5)
    generate(over, tmp_path / "over")
    assert Dataset(tmp_path / "over").shard(0).frames.shape == (2, 4, *frame_size, 3)


def test_streams_are_live(bundle: str, frame_size: FrameSize) -> None:
    live = LiveStream(World.from_pretrained(bundle))
    live.reset(start_frame=np.zeros((*frame_size, 3), np.uint8))
    live.set_prompt("go left")
    assert live.step()[0].image.shape == (*frame_size, 3)


def test_a_planner_takes_frames_of_that_size(bundle: str, frame_size: FrameSize) -> None:
    planner = Planner(World.from_pretrained(bundle), "go")
    actions, _ = planner.predict(np.zeros((2, *frame_size, 3), np.uint8))
    assert actions.shape == (2,)
    with pytest.raises(ShapeError, match="needs frames"):
        planner.predict(np.zeros((2, 32, 32, 3), np.uint8))


def test_the_state_probe_reads_frames_of_that_size(frame_size: FrameSize) -> None:
    frames = np.zeros((4, *frame_size, 3), np.uint8)
    states, _ = StateProbe(dot_world(frame_size)).eval().read(frames)
    assert states.shape == (4, 2)


def test_what_is_around_a_place_is_found_in_a_wide_frame() -> None:
    (pixels,) = disc(np.array([[100.5, 20.5]]), 1.2, (32, 128))
    assert pixels.shape == (32, 128)
    assert np.argwhere(pixels).mean(0).tolist() == [20, 100]


def test_film_strips_hold_wide_frames() -> None:
    episodes = np.zeros((2, 3, 32, 64, 3), np.uint8)
    height, width, _ = pairs_of_rows(episodes, episodes).shape
    assert width == 2 * 3 * 64
    assert height == 2 * (4 * 32 + 4)


@pytest.mark.parametrize(
    ("size", "complaint"),
    [
        ((65, 64), r"65 x 64 pixels(.|\n)*frame_size=\(64, 64\)"),
        ((130, 130), r"130 x 130 pixels(.|\n)*frame_size=\(128, 128\)"),
        ((80, 100), r"80 x 100 pixels(.|\n)*frame_size=\(64, 96\)"),
        ((0, 64), "height in frame_size"),
        ((64, -64), "width in frame_size"),
        ((64,), "no height and width"),
    ],
)
def test_other_sizes_are_refused_where_they_are_defined(size: Any, complaint: str) -> None:
    definition = replace(dot_world((64, 64)), frame_size=size)
    with pytest.raises(DefinitionError, match=complaint):
        check_definition(definition)
