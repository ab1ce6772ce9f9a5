"""The engine and its sessions: rows are independent, prompts act when they should,
states come back.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.streams import CONFIG, CUTS, begin, engine_of, run

from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import MAX_ABS_LATENT
from streamdit_gym.stream.session import Session
from streamdit_gym.world import World


@pytest.mark.parametrize("cut", CUTS)
def test_the_same_noise_and_prompts_give_the_same_frames(cut: str) -> None:
    engine, prompts = engine_of(cut), [[1, 2, 3], [4, 5, 0], [1, 1, 1]]
    first = run(engine, begin(engine), prompts)
    assert (first == run(engine, begin(engine), prompts)).all()
    assert first.std() > 0.1
    assert not (first == run(engine, begin(engine, seed=1), prompts)).all()


@pytest.mark.parametrize("cut", ["K4N4c1s1", "K4N2c2s2", "K4N1c1s2"])
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_chunks_begin_with_noise_of_the_models_temperature(
    cut: str, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, draw = [[1, 2, 3], [4, 5, 0]] * 3, Session.draw
    cool, plain = engine_of(cut, replace(CONFIG, temperature=temperature)), engine_of(cut)
    frames = run(cool, begin(cool), prompts)
    other = begin(cool)
    monkeypatch.setattr(
        Session, "draw", lambda session, frames: temperature * draw(session, frames)
    )
    assert torch.equal(frames, run(plain, begin(plain), prompts))
    monkeypatch.setattr(Session, "draw", draw)
    other.noise = Noise.seeded([7, 8, 9])
    alike = torch.allclose(run(cool, other, prompts), frames, atol=1e-5)
    assert alike == (temperature == 0)


@pytest.mark.parametrize("cut", CUTS)
def test_rows_do_not_touch_each_other(cut: str) -> None:
    engine = engine_of(cut)
    together = run(engine, begin(engine), [[1, 2, 3], [4, 5, 0]] * 3)
    changed = run(engine, begin(engine), [[1, 5, 3], [4, 2, 0]] * 3)
    assert (together[[0, 2]] == changed[[0, 2]]).all()
    assert not (together[1] == changed[1]).all()


def same_frames(
    engine: Engine, prompts: list[list[int]], other_prompts: list[list[int]]
) -> torch.Tensor:
    """Return for every frame whether both prompts give the same in all streams."""
    frames = run(engine, begin(engine), prompts)
    other_frames = run(engine, begin(engine), other_prompts)
    return (frames == other_frames).flatten(2).all(-1).all(0)


@pytest.mark.parametrize("cut", CUTS)
def test_a_prompt_acts_exactly_when_its_latency_says(cut: str) -> None:
    """The first chunk that may differ is the one the prompt was born with: N - 1 chunks later."""
    engine = engine_of(cut)
    c, late = engine.partition.chunk_frames, engine.partition.latency_frames
    prompts = [[1, 1, 1]] * 8
    other = [*prompts[:2], [3, 3, 3], *prompts[3:]]
    same = same_frames(engine, prompts, other)
    first = 2 * c + late
    assert same[:first].all()
    assert not same[first : first + c].any()


def test_with_the_papers_prompt_scope_a_prompt_acts_on_the_whole_buffer() -> None:
    engine = engine_of("K4N4c1s1", prompt_scope="buffer")
    prompts = [[1, 1, 1]] * 6
    other = [*prompts[:2], [3, 3, 3], *prompts[3:]]
    same = same_frames(engine, prompts, other)
    assert same[:2].all()
    assert not same[2]


@pytest.mark.parametrize("cut", CUTS)
def test_resetting_a_row_leaves_the_others_bit_equal(cut: str) -> None:
    engine = engine_of(cut)
    kept, reset = begin(engine), begin(engine)
    for session in (kept, reset):
        run(engine, session, [[1, 2, 3]] * 2)
    reset.write([1], begin(engine, rows=1, seed=5))
    plain, after = run(engine, kept, [[2, 2, 2]] * 3), run(engine, reset, [[2, 2, 2]] * 3)
    assert (plain[[0, 2]] == after[[0, 2]]).all()
    fresh = run(engine, begin(engine, rows=1, seed=5), [[2]] * 3)
    torch.testing.assert_close(after[1:2], fresh, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("cut", ["K4N4c1s1", "K4N2c2s2"])
def test_a_new_buffer_holds_the_last_frame_still_at_each_slots_time(cut: str) -> None:
    engine = engine_of(cut)
    session, identical = begin(engine), begin(engine)
    waiting, c = (
        engine.partition.frames - engine.partition.chunk_frames,
        engine.partition.chunk_frames,
    )
    identical.noise = Noise.seeded(range(3))
    noise = identical.draw(waiting)
    for place in range(waiting):
        time = (engine.partition.chunks - 1 - place // c) / engine.partition.chunks
        expected = time * session.references[:, -1] + (1 - time) * noise[:, place]
        torch.testing.assert_close(session.buffer.latents[:, place], expected, atol=1e-4, rtol=1e-4)
    assert (session.buffer.prompts == engine.idle).all()


@pytest.mark.parametrize("cut", CUTS)
def test_latents_of_a_stream_far_off_are_clamped(cut: str) -> None:
    engine = engine_of(cut)
    with torch.no_grad():
        engine.model.final.weight *= 1e4
    frames = run(engine, begin(engine), [[1, 2, 3]] * 8)
    assert frames.abs().max() == MAX_ABS_LATENT


def test_a_trained_stream_far_off_comes_back() -> None:
    world = World.from_pretrained("PushT")
    engine = Engine(
        world.model_for(Partition.parse("K4N4c1s1")), world.table, Partition.parse("K4N4c1s1")
    )
    session = engine.start(
        world.starts.latents[:2, None], torch.zeros(2, 1, dtype=torch.long), Noise.seeded(range(2))
    )
    session.buffer = session.buffer.with_latents(30 * session.buffer.latents)
    frames = run(engine, session, [[0, 0]] * 8)
    assert frames.abs().max() < 7
    assert (frames[:, -1] - session.references[:, 0]).square().mean() < 0.2


@pytest.mark.parametrize("cut", CUTS)
def test_a_saved_session_goes_on_bit_equal(cut: str) -> None:
    engine = engine_of(cut)
    session = begin(engine)
    run(engine, session, [[1, 2, 3]] * 2)
    saved = session.state_dict()
    first = run(engine, session, [[4, 4, 4]] * 3)
    session.load_state_dict(saved)
    assert (run(engine, session, [[4, 4, 4]] * 3) == first).all()
    other = begin(engine, seed=9)
    other.load_state_dict(saved)
    assert (run(engine, other, [[4, 4, 4]] * 3) == first).all()


def test_noisy_references_are_drawn_from_the_rows_own_noise() -> None:
    engine = engine_of("K4N1c1s1", replace(CONFIG, reference_time=0.9))
    prompts = [[1, 2, 3], [4, 5, 0]]
    together = run(engine, begin(engine), prompts)
    assert (together == run(engine, begin(engine), prompts)).all()
    assert not (
        together == run(engine_of("K4N1c1s1"), begin(engine_of("K4N1c1s1")), prompts)
    ).all(), "the noise is seen"
    for row in range(3):
        latents = torch.randn(3, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0))[
            row : row + 1
        ]
        alone = engine.start(latents, torch.zeros(1, 2, dtype=torch.long), Noise.seeded([row]))
        torch.testing.assert_close(
            run(engine, alone, [[said[row]] for said in prompts]),
            together[row : row + 1],
            atol=1e-4,
            rtol=1e-4,
        )


@pytest.mark.parametrize(("prompt_scope", "delay"), [("chunk", 3), ("buffer", 0)])
def test_the_prompt_delay_depends_on_the_prompt_scope(prompt_scope: str, delay: int) -> None:
    engine = engine_of("K4N4c2s1", prompt_scope=prompt_scope)
    assert engine.prompt_delay == delay
