"""Clips of latents: where they are sampled, and which of their frames are the simulator's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.training import moving_square, no_actions

from streamdit_gym.errors import DatasetError
from streamdit_gym.train.latent_episodes import ClipIndex, LatentEpisodes


def episodes_of(*num_generated: int) -> LatentEpisodes:
    """Return empty episodes of twelve frames."""
    count = len(num_generated)
    empty = torch.zeros(count, 12, 1)
    episodes = LatentEpisodes(
        latents=torch.zeros(count, 12, 8, 8, 8),
        prompts=torch.zeros(count, 12),
        states=empty,
        scores=empty,
        **no_actions(count, 12),
    )
    return replace(episodes, num_generated=torch.tensor(num_generated))


def test_clips_are_sampled_from_everywhere() -> None:
    index = episodes_of(0, 0).sample(400, 4, torch.Generator().manual_seed(0))
    assert 150 < index.episode.sum() < 250
    assert index.start.unique().tolist() == list(range(9)), "four frames fit from 0 to 8"


def test_episodes_shorter_than_a_clip_are_refused() -> None:
    with pytest.raises(DatasetError, match="shorter than a clip"):
        episodes_of(0).sample(4, 13, torch.Generator())


def test_clips_never_reach_behind_an_episodes_end() -> None:
    episodes = replace(episodes_of(0, 0, 0), lengths=torch.tensor([12, 6, 3]))
    index = episodes.sample(400, 4, torch.Generator().manual_seed(0))
    assert index.start[index.episode == 0].unique().tolist() == list(range(9))
    assert index.start[index.episode == 1].unique().tolist() == [0, 1, 2]
    assert not (index.episode == 2).any(), "three frames are no clip"


def test_episodes_cut_to_the_shorter_ones_end_there() -> None:
    joined = episodes_of(0).joined(replace(moving_square(2, 9), lengths=torch.tensor([9, 5])))
    assert joined.lengths.tolist() == [9, 9, 5]
    assert joined.is_real.sum(1).tolist() == [9, 9, 5]


def test_clips_of_relabelled_episodes_begin_in_the_later_half_of_the_generated_frames() -> None:
    index = episodes_of(0, 3).sample(400, 4, torch.Generator().manual_seed(0))
    assert index.start[index.episode == 0].unique().tolist() == list(range(9))
    assert index.start[index.episode == 1].unique().tolist() == [1, 2]


def test_generated_frames_are_not_recorded_ones() -> None:
    index = ClipIndex(episode=torch.tensor([0, 1, 1]), start=torch.tensor([0, 0, 2]))
    recorded = episodes_of(0, 3).is_recorded(index, 4)
    assert recorded.tolist() == [[True] * 4, [False] * 3 + [True], [False] + [True] * 3]
    later = episodes_of(0, 3).is_recorded(index, 2, offset=2)
    assert torch.equal(later, recorded[:, 2:])


def test_joined_episodes_are_as_long_as_the_shorter_ones() -> None:
    short = replace(moving_square(3, 9), num_generated=torch.full((3,), 4))
    joined = moving_square(2, 12).joined(short)
    assert joined.latents.shape[:2] == joined.prompts.shape == (5, 9)
    assert joined.num_generated.tolist() == [0, 0, 4, 4, 4]
    assert torch.equal(joined.latents[2:], short.latents)


def test_the_last_episodes_are_held_out() -> None:
    episodes = moving_square(5)
    train, held_out = episodes.split(2)
    assert (len(train), len(held_out)) == (3, 2)
    assert torch.equal(held_out.prompts, episodes.prompts[3:])
