"""Numbers of lower precision: where they are used, and that they change nothing else."""

from __future__ import annotations

import itertools

import pytest
import torch
from support.streams import CUTS, begin, engine_of, run

from streamdit_gym.model import precision as numbers
from streamdit_gym.model.precision import cpu_prefers_bfloat16, precision, training_precision


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
