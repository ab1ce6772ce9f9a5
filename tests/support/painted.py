"""Latents of a world of two painted things, whose prompts change their colours."""

from __future__ import annotations

from dataclasses import replace

import torch

from streamdit_gym.train.latent_episodes import LatentEpisodes
from support.training import TINY, no_actions

PAINTED = replace(TINY, channels=TINY.channels + 6, global_channels=6)
PAINT_PROBABILITY = 0.1  # of each prompt that paints
# prompt: which of the two things it paints, and in what colour; prompt 0 paints none
PAINTS = {1: (0, [1.0, 0.0, -1.0]), 2: (0, [-1.0, 1.0, 0.0]), 3: (1, [0.5, 0.5, 0.5])}


def painted(episodes: int = 70, length: int = 20, prompts: int = 4) -> LatentEpisodes:
    """Return episodes in which nothing moves and prompts paint now and then.

    Args:
        episodes: how many.
        length: frames of each.
        prompts: how many of the four prompts there are.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(1, prompts, (episodes, length), generator=generator)
    stays = torch.rand(episodes, length, generator=generator) > 3 * PAINT_PROBABILITY
    rows[stays] = 0
    colours = torch.zeros(episodes, length, 2, 3)
    for frame in range(1, length):
        colours[:, frame] = colours[:, frame - 1]
        for prompt, (thing, colour) in PAINTS.items():
            colours[rows[:, frame] == prompt, frame, thing] = torch.tensor(colour)
    places = torch.randn(episodes, 1, TINY.channels, 8, 8, generator=generator)
    palettes = colours.flatten(2)[..., None, None].expand(-1, -1, -1, 8, 8)
    latents = torch.cat([places.expand(-1, length, -1, -1, -1), palettes], 2)
    states = torch.zeros(episodes, length, 1)
    return LatentEpisodes(
        latents=latents.half(),
        prompts=rows,
        states=states,
        scores=states,
        **no_actions(episodes, length),
    )
