"""What a world shows of an environment's picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from gymnasium import spaces
from support.definition_files import forgotten_worlds as forgotten_worlds
from support.gym_envs import SEED, needs_mujoco, registered_envs, simulator_of, slider

from streamdit_gym.envs import gym_world
from streamdit_gym.envs.gym_making import image_key
from streamdit_gym.errors import DefinitionError


@pytest.fixture(autouse=True)
def _environments(forgotten_worlds: None) -> Iterator[None]:
    with registered_envs():
        yield


def paint_grey(env: Any) -> None:
    env.colour = 100


def call_it_ready(env: Any) -> None:
    env.ready = 1.0


def test_frames_are_made_smaller_by_area_averaging() -> None:
    world = slider(frame_size=(16, 16))
    assert world.make_simulator is not None
    frame = world.make_simulator().reset(np.random.default_rng(SEED), "any")
    picture = simulator_of(world)._env.render()
    means = picture.reshape(16, 2, 16, 4, 3).mean(axis=(1, 3))
    assert frame == pytest.approx(means, abs=0.51)


def test_a_crop_shows_a_part_of_the_picture() -> None:
    world = slider(frame_size=(16, 32), crop=(0.5, 1.0, 0.25, 0.75))
    simulator = simulator_of(world)
    picture = simulator._env.render()
    height, width = picture.shape[:2]
    part = picture[height // 2 :, width // 4 : 3 * width // 4]
    assert part.shape == (16, 32, 3)
    assert np.array_equal(simulator._frame(), part)


def test_a_picture_with_fewer_pixels_than_frames_is_enlarged_with_a_warning() -> None:
    world = slider(frame_size=(64, 64), crop=(0.5, 1.0, 0.25, 0.75))
    assert world.make_simulator is not None
    with pytest.warns(UserWarning, match="16 x 32 pixels is enlarged to frames of 64 x 64"):
        frame = world.make_simulator().reset(np.random.default_rng(SEED), "any")
    assert frame.shape == (64, 64, 3)


def test_a_prepared_environment_is_another_one() -> None:
    plain = simulator_of(slider())
    prepared = simulator_of(slider(prepare=paint_grey))
    assert prepared._frame().max() == 100
    assert plain._frame().max() == 255
    prepared.reset(np.random.default_rng(1), "any")
    assert prepared._frame().max() == 100, "once is enough"
    prepared.close()
    prepared.reset(np.random.default_rng(1), "any")
    assert prepared._frame().max() == 100, "a new one is prepared as well"


def test_an_environment_that_cannot_be_prepared_is_named() -> None:
    with pytest.raises(DefinitionError, match="no_such_thing"):
        slider(prepare=lambda env: env.no_such_thing)


def test_a_state_is_that_of_the_prepared_environment() -> None:
    world = slider(prepare=call_it_ready, state=lambda env: {"ready": env.ready})
    assert world.state_names == ("ready",)
    assert simulator_of(world).state() == 1


@needs_mujoco
def test_mujoco_draws_a_cropped_picture_larger() -> None:
    crop = (0.25, 0.75, 0.25, 0.75)
    whole = simulator_of(gym_world("Reacher-v5", name="Whole"))
    part = simulator_of(gym_world("Reacher-v5", name="Part", crop=crop))
    assert part._env.render().shape == (256, 256, 3)
    middle = cv2.resize(whole._frame()[16:48, 16:48], (64, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(part._frame().astype(float) - middle).mean() < 6


def test_an_observed_picture_is_cropped() -> None:
    simulator = simulator_of(slider("Observer", frame_size=(16, 32), crop=(0.5, 1.0, 0.0, 0.5)))
    assert simulator.settings.image_key == "camera"
    picture = simulator._observation["camera"]
    assert np.array_equal(simulator._frame(), picture[16:, :32])


def test_a_picture_in_the_observation_serves_as_well() -> None:
    simulator = simulator_of(slider("Observer"))
    assert simulator.settings.image_key == "camera"
    assert simulator.step(np.ones(1)).max() == 255


@pytest.mark.parametrize(
    ("frame_size", "key"), [((32, 64), ""), ((40, 64), ""), ((64, 64), None)], ids=str
)
def test_an_observed_picture_is_taken_unless_it_is_much_smaller(
    frame_size: tuple[int, int], key: str | None
) -> None:
    picture = spaces.Box(0, 255, (32, 64, 3), np.uint8)
    assert image_key(picture, frame_size) == key


@pytest.mark.parametrize(
    ("crop", "complaint"),
    [
        ((0.5, 0.55, 0.0, 1.0), "no part of a picture"),
        ((0.0, 1.5, 0.0, 1.0), "edge 1 of crop"),
        (0.5, "no part of a picture"),
    ],
    ids=str,
)
def test_edges_that_enclose_no_picture_are_refused(crop: Any, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        slider(crop=crop)
