"""The readout of the environment's own reward and end, and its place in a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_world
from support.bundles import edited, read_content, write_content
from support.training import no_actions

from streamdit_gym.actions import Menu, SpokenBox, action_numbers, num_action_numbers
from streamdit_gym.definition import EnvironmentTask
from streamdit_gym.errors import BundleError
from streamdit_gym.model.transition_readout import TransitionReadout, TransitionReadoutConfig
from streamdit_gym.recipes.stage_settings import TransitionTraining
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stages.transition_stage import (
    TransitionTrainer,
    train_transitions,
    transition_errors,
    transitions_of,
)
from streamdit_gym.world import World

OWN = EnvironmentTask(horizon=8, about="its own")
BOX = SpokenBox(arm=("left", "still", "right"), hand=("open", "closed"), low=(-2, 0), high=(2, 1))


def readout_of(world: World) -> TransitionReadout:
    torch.manual_seed(2)
    config = TransitionReadoutConfig(actions=num_action_numbers(world.spec.actions), width=8)
    readout = TransitionReadout(config).eval()
    readout.spread.fill_(0.5)
    readout.end_offset.fill_(-2.0)
    return readout


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    world = make_tiny_world()
    replace(world, transitions=readout_of(world)).save_pretrained(tmp_path)
    return tmp_path


def test_a_menus_actions_are_one_hot() -> None:
    numbers = action_numbers(Menu("stay", "go", "back"), [2, 0])
    assert numbers.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_boxs_values_are_scaled() -> None:
    numbers = action_numbers(BOX, np.array([[-2, 0], [0, 0.5], [9, 1]]))
    assert numbers.tolist() == [[-1, -1], [0, 0], [1, 1]]


def test_rewards_are_in_their_own_unit_and_ends_as_rare_as_they_are() -> None:
    readout = readout_of(make_tiny_world())
    before, after = torch.randn(2, 3, 8, 8, 8)
    actions = torch.eye(9)[:3]
    raw = readout.raw(before, after, actions)
    reward, end_logit = readout(before, after, actions)
    torch.testing.assert_close(reward, 0.5 * raw[:, 0])
    torch.testing.assert_close(end_logit, raw[:, 1] - 2)


def test_a_bundle_holds_it(bundle: Path) -> None:
    world = World.from_pretrained(bundle)
    assert world.transitions is not None
    before, after = torch.randn(2, 3, 8, 8, 8)
    actions = torch.eye(9)[:3]
    expected = readout_of(world)(before, after, actions)
    for found, wanted in zip(world.transitions(before, after, actions), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=0.01, rtol=0.01)


def test_a_bundle_without_it_loses_the_file(bundle: Path) -> None:
    make_tiny_world().save_pretrained(bundle)
    assert not (bundle / "transitions.safetensors").exists()
    assert World.from_pretrained(bundle).transitions is None


def test_it_must_read_the_worlds_actions(bundle: Path) -> None:
    content = edited(read_content(bundle), ("transitions", "actions"), 4)
    write_content(bundle, content)
    with pytest.raises(BundleError, match=r"transitions\.actions"):
        World.from_pretrained(bundle)


def episodes_with_rewards(count: int = 24, length: int = 20) -> LatentEpisodes:
    """Return episodes whose rewards are a change of brightness, and whose end is a bright frame."""
    torch.manual_seed(4)
    brightness = torch.randn(count, length)
    latents = brightness[..., None, None, None] + 0.1 * torch.randn(count, length, 8, 8, 8)
    rewards = torch.zeros(count, length, 1)
    rewards[:, 1:, 0] = 3 * (brightness[:, 1:] - brightness[:, :-1]) - 1
    terminated = torch.zeros(count, length, dtype=torch.bool)
    terminated[::2, -1] = True
    latents[::2, -1] += 6
    nothing = torch.zeros(count, length, 0)
    return LatentEpisodes(
        latents=latents.half(),
        prompts=torch.zeros(count, length, dtype=torch.long),
        states=nothing,
        scores=nothing,
        **{**no_actions(count, length), "rewards": rewards, "terminated": terminated},
    )


def test_it_learns_rewards_and_ends(tmp_path: Path) -> None:
    train, held_out = episodes_with_rewards().split(8)
    readout = TransitionReadout(TransitionReadoutConfig(width=8))
    settings = TransitionTraining(steps=150, batch=64, latent_noise=0.02)
    trainer = TransitionTrainer(readout, train, transitions_of(train, 0, OWN), settings, "cpu")
    assert readout.centre.item() == pytest.approx(-1, abs=0.5)
    assert readout.end_offset < 0, "training shows more ends than there are"
    assert train_transitions(trainer, RunOptions(folder=tmp_path))
    errors = transition_errors(readout, held_out, 0, OWN, "cpu")
    assert errors["reward_correlation"] > 0.9
    assert errors["false_ends_per_1000_steps"] < 20
    assert errors["ends_read"] == 1


def test_padding_is_no_transition() -> None:
    episodes = replace(episodes_with_rewards(2, 6), lengths=torch.tensor([6, 3]))
    transitions = transitions_of(episodes, 0, OWN)
    assert transitions.place.tolist() == [1, 2, 3, 4, 5, 1, 2]
    assert transitions.episode.tolist() == [0] * 5 + [1] * 2


def test_an_end_by_chance_is_read_off_the_step_before_the_last() -> None:
    episodes = replace(episodes_with_rewards(2, 6), lengths=torch.tensor([6, 4]))
    terminated = torch.zeros_like(episodes.terminated)
    terminated[1, 3] = True
    episodes = replace(episodes, terminated=terminated)
    transitions = transitions_of(episodes, 0, replace(OWN, draws_ends=True))
    steps = zip(
        transitions.episode.tolist(),
        transitions.place.tolist(),
        transitions.is_end.tolist(),
        strict=True,
    )
    expected = [(0, place, False) for place in range(1, 6)] + [(1, 1, False), (1, 2, True)]
    assert list(steps) == expected
