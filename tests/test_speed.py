"""The bench measures what it says."""

from __future__ import annotations

import mmap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from streamdit_gym.envs import speed
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import PartitionError, UnknownNameError
from streamdit_gym.model.conv_codec import ConvCodecConfig
from streamdit_gym.presets import PRESETS, Preset


def test_the_clock_leaves_the_warm_up_out() -> None:
    naps = iter([0.05, 0.0, 0.0, 0.0])
    spent = speed.timed(lambda: time.sleep(next(naps)), times=3, warm=1, device="cpu")
    assert len(spent) == 3
    assert spent.max() < 0.04


def test_matrix_products_are_counted_as_they_are_written_down() -> None:
    world = shared_world("PushT", "cpu")
    config, count = world.model.config, 3
    found = speed.parts_of("PushT", count, 1, "cpu", "float32", "reactive", {"matmul_gflops": 1.0})
    tokens, width = config.rows**2, config.width
    seen = tokens * (
        config.references - 1 + 2
    )  # keys: the cached references, the newest one and the frame being made

    def block(frames: int) -> int:
        linear = (
            2 * tokens * count * width**2 * (2 * 3 + frames * (1 + 1 + 1 + 4 + 4))
        )  # qkv of both frames; out, query, out, MLP
        attention = 2 * 2 * count * (frames * tokens) * seen * width
        cross = 2 * 2 * count * frames * tokens * world.table.tokens.shape[1] * width
        return linear + attention + cross + 2 * count * 2 * 6 * width**2  # the last: modulation

    blocks = (config.depth - 1) * block(2) + block(
        1
    )  # nobody reads what the last block would make of the reference
    assert 1e-9 * blocks < found["denoise_gflop"] < 1.6e-9 * blocks, (
        "the rest is embedding and head"
    )
    assert found["share_of_matmul_ceiling"] == pytest.approx(
        found["denoise_gflop"] / found["parts_ms"]["denoise"] * 1e3, rel=1e-6
    )


def test_fused_attention_counts_as_its_two_products() -> None:
    q, k = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8)
    for mask in (None, torch.zeros(5, 7)):
        with speed.counted() as fused, torch.no_grad():
            torch.nn.functional.scaled_dot_product_attention(q, k, k, attn_mask=mask)
        with speed.counted() as written_out:
            (q @ k.mT).softmax(-1) @ k
        assert fused.get_total_flops() == written_out.get_total_flops() == 2 * 2 * 2 * 3 * 5 * 7 * 8


def test_the_parts_make_up_the_step() -> None:
    parts = speed.parts_of(
        "PushT", 8, 12, "cpu", "float32", "reactive", speed.ceilings("cpu", "float32")
    )
    assert set(parts["parts_ms"]) == set(speed.PARTS)
    step = speed.steps_of("PushT", 8, 12, "cpu", "float32", "reactive")
    assert 0.4 < sum(parts["parts_ms"].values()) / step["p50_ms"] < 1.6
    assert 0 < parts["share_of_matmul_ceiling"] < 1.1


def test_the_state_of_an_environment_has_the_size_of_its_tensors() -> None:
    small, large = (
        speed.steps_of("PushT", count, 1, "cpu", "float32", "reactive")["state_kib_per_env"]
        for count in (2, 8)
    )
    assert small == pytest.approx(large, rel=0.01)
    config = shared_world("PushT", "cpu").model.config
    cache = 4 * (config.references - 1) * config.depth * 2 * config.rows**2 * config.width
    assert cache / 1024 < small < 2 * cache / 1024
    assert speed._bytes({"a": [np.zeros(3, np.uint8), torch.zeros(2)], "b": "text"}) == 11


def test_a_long_stream_that_slows_down_or_leaks_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[mmap.mmap] = []
    taken: dict[StreamDiTVectorEnv, int] = {}
    step = StreamDiTVectorEnv.step

    def leaky(self: StreamDiTVectorEnv, actions: object) -> object:
        kept.append(
            mmap.mmap(-1, 2**22)
        )  # bytes could come from memory that the process holds already
        kept[-1].write(b"x" * 2**22)
        taken[self] = taken.get(self, 0) + 1
        time.sleep(0.3 * (taken[self] > 24))
        return step(self, actions)

    honest = speed.flatness("PushT", 30, "cpu", "float32", "reactive")
    monkeypatch.setattr(StreamDiTVectorEnv, "step", leaky)
    wrong = speed.flatness("PushT", 30, "cpu", "float32", "reactive")
    assert wrong["memory_growth_mib"] > honest["memory_growth_mib"] + 40
    assert wrong["last_over_first"] > 1.5


def test_the_bench_draws_what_it_measured(tmp_path: Path) -> None:
    figures = speed.bench(
        "PushT",
        (1, 2),
        2,
        "cpu",
        ("float32", "bfloat16"),
        ("reactive", "pipelined"),
        preset="tiny",
        long=3,
    )
    assert len(figures["steps"]) == 8
    assert len(figures["parts"]) == 4
    assert figures["preset"]["frames_per_s"] > 0
    speed.plot(figures, tmp_path / "new" / "bench.png")
    assert (tmp_path / "new" / "bench.png").stat().st_size > 10_000


def test_the_papers_decoder_makes_four_frames_of_a_latent_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(speed, "DECODER", ConvCodecConfig(size=64, channels=16, width=16, blocks=1))
    decoder = speed.PaperDecoder()
    latents = torch.randn(2, 3, 16, 8, 8)
    frames = decoder.decode(latents)
    assert (frames.shape, frames.dtype) == ((2, 12, 64, 64, 3), torch.uint8)
    changed = latents.clone()
    changed[:, 1] += 1
    other = (decoder.decode(changed) != frames).flatten(2).any(-1)
    assert other.any(0).tolist() == [False] * 4 + [True] * 4 + [False] * 4
    model = replace(
        PRESETS["paper-4b"].model,
        width=32,
        depth=2,
        heads=2,
        grid=8,
        text_width=8,
        window=(4, 4, 4),
    )
    monkeypatch.setitem(PRESETS, "paper-4b", Preset(codec=None, model=model))
    found = speed.bench_preset("paper-4b", "cpu", "float32", moves=2)
    assert found["frames_per_move"] == 8, "two latent frames a move"
    assert found["frames_per_s"] == pytest.approx(8e3 / (found["move_ms"] + found["decode_ms"]))


def test_unknown_names_are_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        speed.bench("PushT", (1,), 1, "cpu", preset="paper")
    with pytest.raises(PartitionError):
        speed.bench("PushT", (1,), 1, "cpu", partitions=("reactve",))
    assert "hardware" not in capsys.readouterr().out
