"""The engine and its sessions: rows are independent, prompts act when they should,
states come back.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from conftest import make_table, wake

from streamdit_gym.errors import ArgumentError, PartitionError, ShapeError
from streamdit_gym.model import precision as numbers
from streamdit_gym.model.precision import cpu_prefers_bfloat16, precision, training_precision
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import MAX_ABS_LATENT, Sampler
from streamdit_gym.stream.session import Session
from streamdit_gym.stream.views import cached_view
from streamdit_gym.world import World

CONFIG = StreamDiTConfig(width=32, depth=2, heads=2)
CUTS = ["K4N1c1s1", "K4N1c1s2", "K4N4c1s1", "K4N2c2s2", "K2N3c1s1"]


def engine_of(cut: str, config: StreamDiTConfig = CONFIG, **settings: object) -> Engine:
    torch.manual_seed(0)
    model = StreamDiT(config)
    wake(model)
    return Engine(
        model.eval(),
        make_table([f"phrase {i}" for i in range(6)]),
        Partition.parse(cut),
        **settings,
    )  # type: ignore[arg-type]


def begin(engine: Engine, rows: int = 3, seed: int = 0, frames: int = 2) -> Session:
    latents = torch.randn(rows, frames, 8, 8, 8, generator=torch.Generator().manual_seed(seed))
    noise = Noise.seeded([100 * seed + i for i in range(rows)])
    return engine.start(latents, torch.zeros(rows, frames, dtype=torch.long), noise)


def run(engine: Engine, session: Session, prompts: list[list[int]]) -> torch.Tensor:
    return torch.cat([engine.tick(session, torch.tensor(p)) for p in prompts], 1)


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


@pytest.mark.parametrize("cut", CUTS)
def test_a_prompt_acts_exactly_when_its_latency_says(cut: str) -> None:
    """The first chunk that may differ is the one the prompt was born with: N - 1 chunks later."""
    engine = engine_of(cut)
    c, late = engine.partition.chunk_frames, engine.partition.latency_frames
    prompts = [[1, 1, 1]] * 8
    other = [*prompts[:2], [3, 3, 3], *prompts[3:]]
    same = (
        (run(engine, begin(engine), prompts) == run(engine, begin(engine), other))
        .flatten(2)
        .all(-1)
        .all(0)
    )
    first = 2 * c + late
    assert same[:first].all()
    assert not same[first : first + c].any()


def test_with_the_papers_prompt_scope_a_prompt_acts_on_the_whole_buffer() -> None:
    engine = engine_of("K4N4c1s1", prompt_scope="buffer")
    prompts = [[1, 1, 1]] * 6
    other = [*prompts[:2], [3, 3, 3], *prompts[3:]]
    same = (
        (run(engine, begin(engine), prompts) == run(engine, begin(engine), other))
        .flatten(2)
        .all(-1)
        .all(0)
    )
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


@pytest.mark.parametrize(
    ("cut", "guidance"),
    [("K4N1c1s1", 1.0), ("K4N1c1s2", 1.0), ("K4N1c2s1", 1.0), ("K2N1c1s1", 1.0), ("K4N1c1s2", 1.5)],
)
def test_streaming_with_the_cache_equals_recomputing_the_whole_history(
    cut: str, guidance: float
) -> None:
    """The slow way to a stream with chunks of N = 1: all clean frames so far in one call,
    nothing kept.
    """
    engine = engine_of(
        cut, replace(CONFIG, references=Partition.parse(cut).references, guidance=guidance)
    )
    partition = engine.partition
    c, s = partition.chunk_frames, partition.micro_steps
    session = begin(engine, frames=6)
    history, born = session.references.clone(), session.reference_prompts.clone()
    noise = session.noise.to("cpu")
    for move in range(5):
        prompts = torch.tensor([move % 6, 2, 3])
        fast = engine.tick(session, prompts)
        x = noise.draw((c, 8, 8, 8))
        index = torch.cat([born[:, 1:], prompts[:, None].expand(-1, c)], 1)
        for k in range(s):
            clean = history[:, 1:]
            view = cached_view(
                clean,
                torch.ones(clean.shape[:2]),
                x,
                torch.full((3, c), k / s),
                history[:, :1],
                torch.ones(3, 1),
                cached=0,
                chunk_frames=c,
                limit=partition.references,
            )
            with torch.no_grad():
                found, _ = engine.model(view, engine.table.conditioning(index))
            x = (x + found[:, -c:] / s).clamp(-MAX_ABS_LATENT, MAX_ABS_LATENT)
        torch.testing.assert_close(fast, x, atol=1e-4, rtol=1e-3)
        history, born = (
            torch.cat([history, fast], 1),
            torch.cat([born, prompts[:, None].expand(-1, c)], 1),
        )


@pytest.mark.parametrize(
    "config", [replace(CONFIG, causal=False), replace(CONFIG, window=(2, 2, 2), causal=False)]
)
def test_models_that_cannot_keep_a_cache_stream_without(config: StreamDiTConfig) -> None:
    engine = engine_of("K4N2c1s1", config)
    assert not engine.cached
    session = begin(engine)
    assert session.cache is None
    assert run(engine, session, [[1, 2, 3]] * 4).isfinite().all()


@pytest.mark.parametrize("cut", CUTS)
def test_matrices_in_bfloat16_give_what_autocast_gives_bit_for_bit(cut: str) -> None:
    engines = [engine_of(cut, autocast=True) for _ in range(2)]
    plain = engine_of(cut).model
    engines[1].model = plain
    engines[1].sampler.model = plain
    engines[1].sampler.prepared.model = plain
    engines[1].sampler.evaluate = plain
    assert {p.dtype for p in engines[0].model.parameters()} == {torch.float32, torch.bfloat16}
    assert {p.dtype for p in engines[1].model.parameters()} == {torch.float32}
    frames = [run(engine, begin(engine), [[0, 1, 2], [3, 4, 5]]) for engine in engines]
    assert torch.equal(*frames)


@pytest.mark.filterwarnings("ignore")  # the compiler has many of its own
@pytest.mark.parametrize("cut", ["K4N1c1s1", "K2N2c1s2"])
def test_compiled_streams_are_the_same_streams_and_no_compiling_is_left_for_ticks(cut: str) -> None:
    plain, compiled = engine_of(cut), engine_of(cut, compile=True)
    frames = []
    for engine in (plain, compiled):
        session = begin(engine)
        with torch.compiler.set_stance("fail_on_recompile" if engine is compiled else "default"):
            frames.append(run(engine, session, [[0, 1, 2], [3, 4, 5]]))
            session.write([1], begin(plain, rows=1, seed=5))  # a row begun anew
            frames[-1] = torch.cat([frames[-1], run(engine, session, [[4, 4, 4]])], 1)
    torch.testing.assert_close(frames[1], frames[0], atol=1e-4, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")  # the compiler has many of its own
@pytest.mark.parametrize("cut", ["K4N1c1s1", "K4N1c1s2", "K4N4c1s1", "K2N2c1s2", "K1N1c1s1"])
def test_a_compiled_streams_cache_has_the_same_layout_before_and_after_ticks(cut: str) -> None:
    engine = engine_of(
        cut, replace(CONFIG, references=Partition.parse(cut).references), compile=True
    )
    engine.sampler.evaluate = engine.model.forward
    rows = torch.randn(3, 2, 8, 8, 8)
    prompts = torch.zeros(3, 2, dtype=torch.long)
    session = engine.start(rows, prompts, Noise.seeded(range(3)), warm=False)
    laid = []
    for _ in range(3):
        assert session.cache is not None
        parts = session.cache.tensors()
        assert not any(part._is_view() for part in parts)
        laid.append(
            [
                (part.shape, part.stride(), part.storage_offset(), part.requires_grad)
                for part in parts
            ]
        )
        engine.tick(session, torch.tensor([0, 1, 2]))
    assert laid[0] == laid[1] == laid[2]


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


@pytest.mark.parametrize("cut", CUTS)
def test_a_tick_that_fails_leaves_streams_that_go_on(cut: str) -> None:
    engine = engine_of(cut)
    session = begin(engine)
    with pytest.raises(IndexError):
        engine.tick(session, torch.tensor([1, 2, 99]))
    assert engine.tick(session, torch.tensor([1, 2, 3])).isfinite().all()


def test_a_session_does_not_grow() -> None:
    engine = engine_of("K4N4c1s1")
    session = begin(engine)

    def numbers() -> int:
        assert session.cache is not None
        return (
            session.references.numel()
            + session.buffer.latents.numel()
            + sum(part.untyped_storage().nbytes() for part in session.cache.tensors())
        )

    run(engine, session, [[1, 2, 3]] * 2)
    size = numbers()
    run(engine, session, [[1, 2, 3]] * 50)
    assert numbers() == size


@pytest.mark.parametrize("cut", ["K0N1c1s1", "K9N1c1s1"])
def test_partitions_that_do_not_fit_the_model_are_refused(cut: str) -> None:
    with pytest.raises(PartitionError, match="1 to 4 references"):
        engine_of(cut)


def test_a_gpus_convolutions_are_true_float32_while_streams_move_and_as_before_afterwards() -> None:
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    with pytest.raises(ValueError, match="broken"), precision(torch.device("cuda"), False):
        assert conv.fp32_precision == "ieee"
        raise ValueError("broken")
    assert conv.fp32_precision == before
    with precision(torch.device("cpu"), False):
        assert conv.fp32_precision == before


@pytest.mark.parametrize(("bfloat16", "float32"), [(1.0, 2.0), (2.0, 1.0)])
def test_training_is_in_bfloat16_where_that_is_faster(
    bfloat16: float, float32: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(itertools.accumulate([0.0, *[bfloat16] * 15, *[float32] * 16]))
    with monkeypatch.context() as patched:
        patched.setattr(numbers.time, "perf_counter", lambda: next(clock))
        faster = cpu_prefers_bfloat16.__wrapped__()
    assert faster == (bfloat16 < float32)
    monkeypatch.setattr(numbers, "cpu_prefers_bfloat16", lambda: faster)
    with training_precision("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (
            torch.bfloat16 if faster else torch.float32
        )


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


@pytest.mark.parametrize(("prompt_scope", "delay"), [("chunk", 3), ("buffer", 0)])
def test_the_prompt_delay_depends_on_the_prompt_scope(prompt_scope: str, delay: int) -> None:
    engine = engine_of("K4N4c2s1", prompt_scope=prompt_scope)
    assert engine.prompt_delay == delay


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
