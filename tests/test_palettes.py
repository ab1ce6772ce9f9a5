"""Looks: what a prompt names is put on, what it does not name is copied, and both are learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_table, wake
from test_train import FAST, TINY

from streamdit_gym.model.looks import KNOWN, Looks
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.train.latents import LatentEpisodes
from streamdit_gym.train.train_looks import LooksTraining, Palettes, train_looks
from streamdit_gym.train.train_streamdit import StreamDiTTrainer

SAID = 0.1
PAINTED = replace(TINY, channels=TINY.channels + 6, looks=6)


def painted(episodes: int = 70, length: int = 20) -> LatentEpisodes:
    """A world of two things: prompt 0 stays, 1 and 2 paint the first, 3 the second; all but the first are rarely said."""
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(1, 4, (episodes, length), generator=generator)
    prompts[torch.rand(episodes, length, generator=generator) > 3 * SAID] = 0
    colours = torch.zeros(episodes, length, 2, 3)
    for frame in range(1, length):
        colours[:, frame] = colours[:, frame - 1]
        for said, thing, colour in ((1, 0, [1.0, 0.0, -1.0]), (2, 0, [-1.0, 1.0, 0.0]), (3, 1, [0.5, 0.5, 0.5])):
            colours[prompts[:, frame] == said, frame, thing] = torch.tensor(colour)
    places = torch.randn(episodes, 1, TINY.channels, 8, 8, generator=generator).expand(-1, length, -1, -1, -1)
    latents = torch.cat([places, colours.flatten(2)[..., None, None].expand(-1, -1, -1, 8, 8)], 2).half()
    states = torch.zeros(episodes, length, 1)
    return LatentEpisodes(latents=latents, prompts=prompts, states=states, scores=states, astray=torch.zeros(episodes, dtype=torch.long))


def test_repaints_are_those_that_a_search_finds() -> None:
    episodes = painted()
    episodes.astray[3] = 12
    found = Palettes(episodes, PAINTED.local)
    latents = episodes.latents.float()
    searched = [
        [episode, frame]
        for episode in range(70)
        for frame in range(1, 20)
        if (latents[episode, frame] - latents[episode, frame - 1]).abs().max() > 0 and frame > episodes.astray[episode]
    ]
    assert len(searched) > 40
    assert found.repaints.tolist() == searched
    assert len(found.every) == 70 * 19 - 12, "nothing is learned from a world's own frames"
    before, target, said = found.draw(40, torch.Generator().manual_seed(0))
    changed = (before != target).any(-1).any(-1)
    assert changed[20:].all()
    assert not changed[:20].all()
    assert (said[changed] > 0).all()


def test_words_are_learned_and_all_else_is_copied(tmp_path: Path) -> None:
    torch.manual_seed(0)
    looks, table = Looks(2, 384, width=64), make_table(["stay", "red", "green", "grey"])
    config = LooksTraining(steps=400, batch=64, learning_rate=3e-3, prompt_noise=0.0)
    assert train_looks(looks, Palettes(painted(), PAINTED.local), table, config, tmp_path, "cpu")
    again = Looks(2, 384, width=64)
    assert train_looks(again, Palettes(painted(), PAINTED.local), table, config, tmp_path, "cpu"), "it is done already"
    assert all(torch.equal(a, b) for a, b in zip(looks.parameters(), again.parameters(), strict=True))
    said = looks.prepare(table.tokens, table.mask)
    worn = torch.randn(5, 2, 3).clamp(-1, 1)
    made = looks.paint(worn, said)
    for row, named in ((0, []), (1, []), (2, [0]), (3, [0]), (4, [1])):
        for thing in range(2):
            assert torch.equal(made[row, thing], worn[row, thing]) == (thing not in named), "copied, unless it is named"
    assert torch.allclose(made[2, 0], torch.tensor([1.0, 0.0, -1.0]), atol=0.15)
    assert torch.allclose(made[4, 1], torch.tensor([0.5, 0.5, 0.5]), atol=0.15)


@pytest.mark.parametrize("times", [[1.0, 1.0, 1.0], [1.0, 0.2, 0.4], [0.0, 0.0, 0.0]])
def test_palettes_follow_each_other_as_in_a_slow_loop(times: list[float]) -> None:
    torch.manual_seed(0)
    looks = Looks(2, 16).eval()
    with torch.no_grad():
        looks.first.normal_()
    own, before, said = torch.randn(2, 3, 6, 4, 4), torch.randn(2, 3, 6, 4, 4), torch.randn(2, 3, 2, 4)
    own_times, before_times = torch.full((2, 3), 0.3), torch.tensor(times).expand(2, 3)
    made = looks(own, own_times, before, before_times, said)
    for clip in range(2):
        for y, x in ((0, 0), (3, 1)):
            worn = [0.7 * looks.first[k] + 0.3 * own[clip, 0, 3 * k : 3 * k + 3, y, x] for k in range(2)]
            for frame in range(3):
                for k in range(2):
                    if before_times[clip, frame] >= KNOWN:
                        worn[k] = before[clip, frame, 3 * k : 3 * k + 3, y, x]
                    if said[clip, frame, k, 3] > 0:
                        worn[k] = said[clip, frame, k, :3]
                    assert torch.allclose(made[clip, frame, 3 * k : 3 * k + 3, y, x], worn[k], atol=1e-6)


def test_new_words_leave_what_draws_alone() -> None:
    torch.manual_seed(0)
    model = StreamDiT(PAINTED)
    wake(model)
    trainer = StreamDiTTrainer(model, painted(), make_table(["a", "b", "c", "d"]), replace(FAST, words_only=True), "cpu")
    before = {name: value.clone() for name, value in model.named_parameters()}
    for i in range(4):
        trainer.step(i / 8)
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    parts = ("text", "pooled", "no_prompt")
    assert changed <= {name for name in before if name.split(".")[0] in parts or (name.startswith("blocks") and ".cross.key_value" in name)}
    assert {name.split(".")[0] for name in changed} == {*parts, "blocks"}
