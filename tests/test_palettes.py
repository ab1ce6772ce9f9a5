"""Looks: what a prompt names is put on, what it does not name is copied, and both are learned."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_table, wake
from test_train import FAST, TINY

from streamdit_gym.distill.multistep import Distillation, Distiller
from streamdit_gym.model.appearance import PromptedPalette
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.session import Session
from streamdit_gym.train.context_corruption import ContextCorruption
from streamdit_gym.train.latents import LatentEpisodes
from streamdit_gym.train.train_looks import LooksTraining, Palettes, train_looks
from streamdit_gym.train.train_streamdit import StreamDiTTrainer
from streamdit_gym.types import Conditioning

SAID = 0.1
PAINTED = replace(TINY, channels=TINY.channels + 6, palette_channels=6)


def painted(episodes: int = 70, length: int = 20) -> LatentEpisodes:
    """A world of two things: prompt 0 stays, 1 and 2 paint the first, 3 the second;
    all but the first are rarely said.
    """
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(1, 4, (episodes, length), generator=generator)
    prompts[torch.rand(episodes, length, generator=generator) > 3 * SAID] = 0
    colours = torch.zeros(episodes, length, 2, 3)
    for frame in range(1, length):
        colours[:, frame] = colours[:, frame - 1]
        for said, thing, colour in (
            (1, 0, [1.0, 0.0, -1.0]),
            (2, 0, [-1.0, 1.0, 0.0]),
            (3, 1, [0.5, 0.5, 0.5]),
        ):
            colours[prompts[:, frame] == said, frame, thing] = torch.tensor(colour)
    places = torch.randn(episodes, 1, TINY.channels, 8, 8, generator=generator).expand(
        -1, length, -1, -1, -1
    )
    latents = torch.cat(
        [places, colours.flatten(2)[..., None, None].expand(-1, -1, -1, 8, 8)], 2
    ).half()
    states = torch.zeros(episodes, length, 1)
    return LatentEpisodes(
        latents=latents,
        prompts=prompts,
        states=states,
        scores=states,
        astray=torch.zeros(episodes, dtype=torch.long),
    )


def test_repaints_are_those_that_a_search_finds() -> None:
    episodes = painted()
    episodes.astray[3] = 12
    found = Palettes(episodes, PAINTED.spatial_channels)
    latents = episodes.latents.float()
    searched = [
        [episode, frame]
        for episode in range(70)
        for frame in range(1, 20)
        if (latents[episode, frame] - latents[episode, frame - 1]).abs().max() > 0
        and frame > episodes.astray[episode]
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
    looks, table = PromptedPalette(2, 384, width=64), make_table(["stay", "red", "green", "grey"])
    config = LooksTraining(steps=400, batch=64, learning_rate=3e-3, prompt_noise=0.0)
    begun = PromptedPalette(2, 384, width=64)
    assert not train_looks(
        begun,
        Palettes(painted(), PAINTED.spatial_channels),
        table,
        config,
        tmp_path,
        "cpu",
        minutes=0.005,
    ), "it goes on below"
    assert train_looks(
        looks, Palettes(painted(), PAINTED.spatial_channels), table, config, tmp_path, "cpu"
    )
    again = PromptedPalette(2, 384, width=64)
    assert train_looks(
        again, Palettes(painted(), PAINTED.spatial_channels), table, config, tmp_path, "cpu"
    ), "it is done already"
    assert all(
        torch.equal(a, b) for a, b in zip(looks.parameters(), again.parameters(), strict=True)
    )
    said = looks.prepare(table.tokens, table.mask)
    worn = torch.randn(5, 2, 3).clamp(-1, 1)
    made = looks.paint(worn, said)
    for row, named in ((0, []), (1, []), (2, [0]), (3, [0]), (4, [1])):
        for thing in range(2):
            assert torch.equal(made[row, thing], worn[row, thing]) == (thing not in named), (
                "copied, unless it is named"
            )
    assert torch.allclose(made[2, 0], torch.tensor([1.0, 0.0, -1.0]), atol=0.15)
    assert torch.allclose(made[4, 1], torch.tensor([0.5, 0.5, 0.5]), atol=0.15)


@pytest.mark.parametrize(
    ("times", "before_times"),
    [
        ([0.3, 0.3, 0.3], [1.0, 1.0, 1.0]),  # training: every next frame of a clip at once
        ([0.0, 0.0, 0.0], [0.93, 0.93, 0.93]),  # likewise, with noise on the references
        ([0.6, 0.3, 0.0], [1.0, 0.6, 0.3]),  # a stream
        ([0.95, 0.95, 0.2], [1.0, 0.95, 0.95]),  # with chunks of two
    ],
)
def test_palettes_follow_each_other_as_in_a_slow_loop(
    times: list[float], before_times: list[float]
) -> None:
    torch.manual_seed(0)
    looks = PromptedPalette(2, 16).eval()
    before, said = torch.randn(2, 3, 6, 4, 4), torch.randn(2, 3, 2, 4)
    made = looks(
        torch.tensor(times).expand(2, 3), before, torch.tensor(before_times).expand(2, 3), said
    )
    for clip in range(2):
        for y, x in ((0, 0), (3, 1)):
            worn = [torch.zeros(3), torch.zeros(3)]
            for frame in range(3):
                for k in range(2):
                    if before_times[frame] > 0.9 and (
                        frame == 0 or before_times[frame] != times[frame - 1]
                    ):
                        worn[k] = before[clip, frame, 3 * k : 3 * k + 3, y, x]
                    if said[clip, frame, k, 3] > 0:
                        worn[k] = said[clip, frame, k, :3]
                    assert torch.equal(made[clip, frame, 3 * k : 3 * k + 3, y, x], worn[k])


def painter(cut: str, guidance: float = 1.0, **settings: Any) -> Engine:
    """An engine in which prompt 2 paints the first of two colours, and the others paint nothing."""
    torch.manual_seed(0)
    model = StreamDiT(replace(PAINTED, guidance=guidance))
    wake(model)
    said = torch.full((5, 2, 4), -1.0)
    said[1 + 2, 0] = torch.tensor([1.0, 0.0, -1.0, 1.0])
    model.appearance.prepare = lambda tokens, mask: said  # type: ignore[union-attr, assignment]
    return Engine(model.eval(), make_table(["a", "b", "c", "d"]), Partition.parse(cut), **settings)


def begin(engine: Engine) -> Session:
    latents = torch.randn(3, 2, PAINTED.channels, 8, 8, generator=torch.Generator().manual_seed(0))
    latents[:, :, PAINTED.spatial_channels :] = latents[:, :, PAINTED.spatial_channels :, :1, :1]
    return engine.start(latents, torch.zeros(3, 2, dtype=torch.long), Noise.seeded(range(3)))


@pytest.mark.filterwarnings("ignore")  # the compiler has many of its own
@pytest.mark.parametrize(
    ("cut", "settings"),
    [
        ("K4N1c1s1", {}),
        ("K4N1c1s1", {"cached": False}),
        ("K4N1c1s1", {"autocast": True}),
        ("K4N1c1s1", {"guidance": 1.7}),
        pytest.param("K4N1c1s1", {"compile": True}, marks=pytest.mark.slow),
        ("K4N4c1s1", {}),
        ("K4N4c1s1", {"cached": False, "guidance": 1.7}),
        ("K4N2c2s10", {}),
        ("K4N2c2s10", {"cached": False, "autocast": True}),
        ("K2N1c8s3", {}),
    ],
)
def test_a_stream_wears_what_is_said_and_nothing_fades(cut: str, settings: dict[str, Any]) -> None:
    engine = painter(cut, **settings)
    session = begin(engine)
    worn = session.references[:, -1, PAINTED.spatial_channels :]
    red = worn.clone()
    red[1, :3] = torch.tensor([1.0, 0.0, -1.0])[:, None, None]
    for tick in range(8 + engine.partition.chunks):
        clean = engine.tick(session, torch.tensor([0, 2 if tick == 1 else 1, 3]))
        expected = worn if tick < engine.partition.chunks else red
        found = clean[:, :, PAINTED.spatial_channels :]
        assert torch.allclose(found, expected[:, None].expand_as(found), atol=1e-3), tick


def test_how_sure_a_world_is_is_no_matter_of_colours() -> None:
    engine = painter("K4N1c1s1")
    session = begin(engine)
    engine.tick(session, torch.tensor([0, 1, 3]))
    before = engine.self_consistency_error(session)
    session.references = session.references.clone()
    session.references[:, -1, PAINTED.spatial_channels :] += 1
    assert torch.equal(engine.self_consistency_error(session), before)


def test_prompts_that_come_later_say_what_they_would_have_said_at_once() -> None:
    torch.manual_seed(0)
    model, table = StreamDiT(PAINTED), make_table(["a", "b", "c", "d"])
    wake(model)
    nothing = torch.zeros(0, 0, dtype=torch.long)
    rows = [
        Conditioning(
            tokens=table.tokens[r], mask=table.mask[r], pooled=table.pooled[r], index=nothing
        )
        for r in (slice(2), slice(2, 4))
    ]
    joined = model.prepare(rows[0]).join(model.prepare(rows[1]))
    assert torch.allclose(joined.extra, model.prepare(table.conditioning(nothing)).extra, atol=1e-5)
    assert joined.extra.shape == (5, 2, 4)


def test_a_student_learns_where_things_go_and_leaves_words_for_looks_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # in bfloat16 a teacher, whose attention is fused, rounds elsewhere than a student
    monkeypatch.setattr(
        "streamdit_gym.distill.multistep.torch.autocast", lambda *kind, **more: nullcontext()
    )
    torch.manual_seed(0)
    teacher = StreamDiT(PAINTED)
    wake(teacher)
    student = StreamDiT(PAINTED)
    student.load_state_dict(teacher.state_dict())
    config = Distillation(
        partitions=(Partition.parse("K4N1c1s1"),),
        streams=6,
        teacher_steps=1,
        prompt_noise=0.0,
        prompt_hidden=0.0,
    )
    table = make_table(["a", "b", "c", "d"])
    same = Distiller(
        teacher.eval().requires_grad_(False), student.train(), painted(), table, config, "cpu"
    )
    assert same.move().item() < 1e-4
    with torch.no_grad():
        student.appearance.out[1].bias.add_(10.0)  # type: ignore[union-attr, index, operator]
    loss = same.move()
    assert loss.item() < 1e-4, "colours count nothing"


def test_damage_and_rewards_know_nothing_of_colours() -> None:
    torch.manual_seed(0)
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1, channels=14, palette_channels=6)).eval()
    wake(codec)
    latents = torch.randn(2, 3, 14, 8, 8)
    damaged = ContextCorruption(codec=codec)(latents)
    assert torch.equal(damaged[:, :, 8:], latents[:, :, 8:])
    assert not torch.equal(damaged[:, :, :8], latents[:, :, :8])
    heads = Readout(
        ReadoutConfig(state_names=("x",), score_names=("success_reach",), width=8)
    ).eval()
    wake(heads)
    assert torch.equal(heads.raw(latents), heads.raw(latents[:, :, :8]))


def test_new_words_leave_what_draws_alone() -> None:
    torch.manual_seed(0)
    model = StreamDiT(PAINTED)
    wake(model)
    trainer = StreamDiTTrainer(
        model, painted(), make_table(["a", "b", "c", "d"]), replace(FAST, words_only=True), "cpu"
    )
    before = {name: value.clone() for name, value in model.named_parameters()}
    for i in range(4):
        trainer.step(i / 8)
    changed = {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
    parts = ("text", "pooled", "no_prompt")
    assert changed <= {
        name
        for name in before
        if name.split(".")[0] in parts or (name.startswith("blocks") and ".cross.key_value" in name)
    }
    assert {name.split(".")[0] for name in changed} == {*parts, "blocks"}
