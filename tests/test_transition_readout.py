"""The readout of the environment's own reward and end, and its place in a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_world
from support.bundles import edited, read_content, write_content

from streamdit_gym.actions import Menu, SpokenBox, action_numbers, num_action_numbers
from streamdit_gym.errors import BundleError
from streamdit_gym.model.transition_readout import TransitionReadout, TransitionReadoutConfig
from streamdit_gym.world import World

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
