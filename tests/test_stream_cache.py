"""The cache of a stream: as good as the whole history, never growing, and compiled."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.streams import CONFIG, begin, engine_of, run

from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import MAX_ABS_LATENT
from streamdit_gym.stream.views import cached_view


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


@pytest.mark.usefixtures("no_machine_code")
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
