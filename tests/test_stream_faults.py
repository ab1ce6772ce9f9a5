"""Ticks that fail or are interrupted, and arguments that are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.streams import CONFIG, CUTS, begin, engine_of, run

from streamdit_gym.errors import ArgumentError, PartitionError, ShapeError
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.sampler import Sampler
from streamdit_gym.stream.session import Session


@pytest.mark.parametrize("cut", CUTS)
def test_a_tick_that_fails_leaves_streams_that_go_on(cut: str) -> None:
    engine = engine_of(cut)
    session = begin(engine)
    with pytest.raises(IndexError):
        engine.tick(session, torch.tensor([1, 2, 99]))
    assert engine.tick(session, torch.tensor([1, 2, 3])).isfinite().all()


@pytest.mark.parametrize("cut", ["K0N1c1s1", "K9N1c1s1"])
def test_partitions_that_do_not_fit_the_model_are_refused(cut: str) -> None:
    with pytest.raises(PartitionError, match="1 to 4 references"):
        engine_of(cut)


PARTS_OF_A_TICK = [
    (Session, "draw"),
    (Sampler, "_evaluate"),
    (MovingBuffer, "pop"),
    (Sampler, "as_reference"),
    (Session, "append_references"),
    (Session, "become"),
]


@pytest.mark.parametrize("cut", ["K4N1c1s2", "K4N4c1s1"])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "part"), PARTS_OF_A_TICK)
def test_a_tick_that_is_interrupted_leaves_its_streams_as_they_were(
    owner: type, part: str, is_after: bool, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(cut, replace(CONFIG, reference_time=0.9))
    interrupted, other = begin(engine), begin(engine)
    original = getattr(owner, part)

    def interrupt(*arguments: object) -> None:
        if is_after:
            original(*arguments)
        raise KeyboardInterrupt

    if is_after and part == "become":
        run(engine, other, [[1, 2, 3]])  # the move was over
    with monkeypatch.context() as patched:
        patched.setattr(owner, part, interrupt)
        with pytest.raises(KeyboardInterrupt):
            engine.tick(interrupted, torch.tensor([1, 2, 3]))
    prompts = [[1, 2, 3]] * 5
    assert torch.equal(run(engine, interrupted, prompts), run(engine, other, prompts))


@pytest.mark.parametrize("strength", [0.0, -0.5, 1.5, float("nan"), "0.5"])
def test_a_strength_out_of_range_is_refused(strength: object) -> None:
    engine = engine_of("K4N1c1s1")
    session = begin(engine)
    latents = torch.zeros(3, 1, 8, 8, 8)
    with pytest.raises(ArgumentError, match="strength"):
        engine.tick(session, torch.tensor([1, 2, 3]), latents, strength)  # type: ignore[arg-type]


def test_start_latents_of_another_shape_are_refused() -> None:
    engine = engine_of("K4N1c1s1")
    with pytest.raises(ShapeError, match="start latents"):
        engine.start(
            torch.zeros(2, 1, 4, 8, 8), torch.zeros(2, 1, dtype=torch.long), Noise.seeded((0, 1))
        )


def test_arguments_that_are_not_one_for_each_stream_are_refused() -> None:
    engine, latents = engine_of("K4N1c1s1"), torch.zeros(2, 1, 8, 8, 8)
    for prompts, sequences in (
        (torch.zeros(1, 1, dtype=torch.long), 2),
        (torch.zeros(2, 1, dtype=torch.long), 1),
    ):
        with pytest.raises(ShapeError, match="one for each stream"):
            engine.start(latents, prompts, Noise.seeded(range(sequences)))
    session, same = begin(engine), begin(engine)
    with pytest.raises(ShapeError, match=r"given: +\(1,\)"):
        engine.tick(session, torch.tensor([1]))
    with pytest.raises(ShapeError, match="draw over"):
        engine.tick(session, torch.tensor([1, 2, 3]), init_latents=latents, strength=0.5)
    assert (run(engine, session, [[1, 2, 3]]) == run(engine, same, [[1, 2, 3]])).all(), (
        "nothing has happened"
    )
