"""Palettes: a colour that a prompt names changes, and every other one is copied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import make_table, wake
from support.painted import PAINTED

from streamdit_gym.model.appearance import PromptedPalette
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.session import Session
from streamdit_gym.types import Conditioning


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
    predictor: Any = model.global_predictor
    predictor.encode = lambda tokens, mask: said
    cached = settings.pop("cached", None)
    table = make_table(["a", "b", "c", "d"])
    engine = Engine(model.eval(), table, Partition.parse(cut), **settings)
    if cached is not None:
        engine.cached = cached
    return engine


def begin(engine: Engine) -> Session:
    latents = torch.randn(3, 2, PAINTED.channels, 8, 8, generator=torch.Generator().manual_seed(0))
    latents[:, :, PAINTED.spatial_channels :] = latents[:, :, PAINTED.spatial_channels :, :1, :1]
    return engine.start(latents, torch.zeros(3, 2, dtype=torch.long), Noise.seeded(range(3)))


@pytest.mark.usefixtures("no_machine_code")
@pytest.mark.filterwarnings("ignore")  # the compiler has many of its own
@pytest.mark.parametrize(
    ("cut", "settings"),
    [
        ("K4N1c1s1", {}),
        ("K4N1c1s1", {"cached": False}),
        ("K4N1c1s1", {"autocast": True}),
        ("K4N1c1s1", {"guidance": 1.7}),
        pytest.param("K4N1c1s1", {"compile": True}, id="compiled"),
        ("K4N4c1s1", {}),
        ("K4N4c1s1", {"cached": False, "guidance": 1.7}),
        ("K4N2c2s10", {}),
        ("K4N2c2s10", {"cached": False, "autocast": True}),
        ("K2N1c8s3", {}),
    ],
)
def test_a_stream_shows_the_colours_that_prompts_name_and_no_colour_fades(
    cut: str, settings: dict[str, Any]
) -> None:
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


def test_the_self_consistency_error_ignores_the_palette() -> None:
    engine = painter("K4N1c1s1")
    session = begin(engine)
    engine.tick(session, torch.tensor([0, 1, 3]))
    before = engine.self_consistency_error(session)
    session.references = session.references.clone()
    session.references[:, -1, PAINTED.spatial_channels :] += 1
    assert torch.equal(engine.self_consistency_error(session), before)


def test_prompts_prepared_later_equal_prompts_prepared_at_once() -> None:
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


def test_the_readout_ignores_the_palette() -> None:
    torch.manual_seed(0)
    latents = torch.randn(2, 3, 14, 8, 8)
    readout = Readout(
        ReadoutConfig(state_names=("x",), score_names=("success_reach",), width=8)
    ).eval()
    wake(readout)
    assert torch.equal(readout.raw(latents), readout.raw(latents[:, :, :8]))
