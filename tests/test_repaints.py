"""Frames that are painted anew: they are found, and looked at by themselves until what was said is put on."""

from __future__ import annotations

from dataclasses import replace

import torch
from conftest import make_table
from test_train import FAST, TINY, moving_square

from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.train.latents import LatentEpisodes
from streamdit_gym.train.train_streamdit import StreamDiTTrainer, repaints

SAID = 0.1


def painted(episodes: int = 70, length: int = 20) -> LatentEpisodes:
    """A world of two colours: prompt 0 stays, and 1 and 2, which are rarely said, paint all of it."""
    generator = torch.Generator().manual_seed(0)
    prompts = torch.zeros(episodes, length, dtype=torch.long)
    prompts[torch.rand(episodes, length, generator=generator) < SAID] = 1
    prompts[torch.rand(episodes, length, generator=generator) < SAID] = 2
    colours = torch.ones(episodes, length)
    for frame in range(1, length):
        said = prompts[:, frame]
        colours[:, frame] = torch.where(said == 0, colours[:, frame - 1], 3.0 - 2.0 * said)
    latents = colours[:, :, None, None, None].expand(-1, -1, 8, 8, 8).half()
    states = torch.zeros(episodes, length, 1)
    return LatentEpisodes(latents=latents, prompts=prompts, states=states, scores=states, astray=torch.zeros(episodes, dtype=torch.long))


def test_repaints_are_those_that_a_search_finds() -> None:
    episodes = painted()
    episodes.astray[3] = 12
    episodes.latents[3, 12:] += 4.0  # the simulator's first frame behind a world's own is another picture, but nobody painted it
    latents = episodes.latents.float()
    searched = [
        [episode, frame]
        for episode in range(70)
        for frame in range(4, 20)
        if (latents[episode, frame] - latents[episode, frame - 1]).abs().min() > 0 and frame > episodes.astray[episode]
    ]
    assert len(searched) > 40
    assert repaints(episodes, 4).tolist() == searched
    assert not len(repaints(moving_square(), 4)), "a thing that moves is no repaint"


def test_words_that_are_rarely_said_are_learned_by_looking_where_they_are() -> None:
    left = []
    for share in (0.0, 0.9):
        torch.manual_seed(0)
        config = replace(
            FAST, clips=3, partitions=(), prompt_dropout=0.0, prompt_noise=0.0, own_references=0.0, matrix_rate=1e-2, repaints=share
        )
        trainer = StreamDiTTrainer(StreamDiT(TINY), painted(), make_table(["stay", "white", "black"]), config, "cpu")
        for i in range(60):
            trainer.step(i / 60)
        with torch.no_grad():
            left.append(sum(trainer.repaint_loss().item() for _ in range(8)) / 8)
    assert left[1] < 0.5 * left[0], left


def test_without_repaints_there_are_none_to_look_at() -> None:
    torch.manual_seed(0)
    trainer = StreamDiTTrainer(StreamDiT(TINY), moving_square(), make_table(["right", "left"]), replace(FAST, repaints=1.0), "cpu")
    assert trainer.repaint_share == 0
    assert trainer.step(0.0) > 0
