"""The bench measures what it says."""

from __future__ import annotations

import json
import mmap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from streamdit_gym.bench import paper_decoder, window_cost
from streamdit_gym.bench.bench_report import plot_report
from streamdit_gym.bench.env_speed import (
    StepSettings,
    measure_long_stream,
    measure_steps,
    nested_bytes,
)
from streamdit_gym.bench.hardware import Ceilings, measure_ceilings
from streamdit_gym.bench.paper_decoder import PaperDecoder
from streamdit_gym.bench.preset_memory import KEPT_BESIDE, KEPT_PER_WIDTH, plan_memory
from streamdit_gym.bench.preset_speed import measure_preset, paper_view, random_prompts
from streamdit_gym.bench.run_bench import BenchConfig, run_bench
from streamdit_gym.bench.step_parts import PARTS, measure_parts, operation_counter
from streamdit_gym.bench.timing import call_seconds
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import PartitionError, UnknownNameError
from streamdit_gym.model.conv_codec import ConvCodecConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.presets import PRESETS, Preset

SETTINGS = StepSettings(world="PushT", envs=8, device="cpu")
BENCH = BenchConfig(world="PushT", envs=(1, 2), steps=2, device="cpu")


def test_the_clock_leaves_the_warm_up_out() -> None:
    naps = iter([0.05, 0.0, 0.0, 0.0])
    seconds = call_seconds(lambda: time.sleep(next(naps)), times=3, warm_up=1, device="cpu")
    assert len(seconds) == 3
    assert seconds.max() < 0.04


def test_matrix_products_are_counted_as_they_are_written_down() -> None:
    world = shared_world("PushT", "cpu")
    config, envs = world.model.config, 3
    ceilings = Ceilings(matmul_gflops=1.0, copy_gb_s=1.0)
    parts = measure_parts(replace(SETTINGS, envs=envs), 1, ceilings)
    tokens, width = config.num_tokens, config.width
    # keys: the cached references, the newest reference and the frame being made
    keys = tokens * (config.references - 1 + 2)

    def block(frames: int) -> int:
        # query, key and value of both frames; out, query, out, MLP
        linear = 2 * tokens * envs * width**2 * (2 * 3 + frames * (1 + 1 + 1 + 4 + 4))
        attention = 2 * 2 * envs * (frames * tokens) * keys * width
        cross = 2 * 2 * envs * frames * tokens * world.table.tokens.shape[1] * width
        modulation = 2 * envs * 2 * 6 * width**2
        return linear + attention + cross + modulation

    # nobody reads what the last block would make of the reference
    blocks = 1e-9 * ((config.depth - 1) * block(2) + block(1))
    assert blocks < parts.denoise_gflop < 1.6 * blocks, "the rest is embedding and head"
    gflops = parts.denoise_gflop / parts.parts_ms["denoise"] * 1e3
    assert parts.share_of_matmul_ceiling == pytest.approx(gflops, rel=1e-6)


def test_fused_attention_counts_as_its_two_products() -> None:
    q, k = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8)
    for mask in (None, torch.zeros(5, 7)):
        with operation_counter() as fused, torch.no_grad():
            torch.nn.functional.scaled_dot_product_attention(q, k, k, attn_mask=mask)
        with operation_counter() as written_out:
            (q @ k.mT).softmax(-1) @ k
        assert fused.get_total_flops() == written_out.get_total_flops() == 2 * 2 * 2 * 3 * 5 * 7 * 8


def test_the_parts_make_up_the_step() -> None:
    parts = measure_parts(SETTINGS, 12, measure_ceilings("cpu", "float32"))
    assert set(parts.parts_ms) == set(PARTS)
    speed = measure_steps(SETTINGS, 12)
    assert 0.4 < sum(parts.parts_ms.values()) / speed.p50_ms < 1.6
    assert 0 < parts.share_of_matmul_ceiling < 1.1


def test_the_state_of_an_environment_has_the_size_of_its_tensors() -> None:
    small = measure_steps(replace(SETTINGS, envs=2), 1).state_kib_per_env
    large = measure_steps(SETTINGS, 1).state_kib_per_env
    assert small == pytest.approx(large, rel=0.01)
    config = shared_world("PushT", "cpu").model.config
    cache = 4 * (config.references - 1) * config.depth * 2 * config.num_tokens * config.width
    assert cache / 1024 < small < 2 * cache / 1024


def test_bytes_are_counted_in_nested_states() -> None:
    state = {"a": [np.zeros(3, np.uint8), torch.zeros(2)], "b": "text"}
    assert nested_bytes(state) == 11


def test_a_long_stream_that_slows_down_or_leaks_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    leaked: list[mmap.mmap] = []
    steps: dict[StreamDiTVectorEnv, int] = {}
    step = StreamDiTVectorEnv.step

    def leaky_step(self: StreamDiTVectorEnv, actions: object) -> object:
        # not bytes: they could come from memory that the process holds already
        leaked.append(mmap.mmap(-1, 2**22))
        leaked[-1].write(b"x" * 2**22)
        steps[self] = steps.get(self, 0) + 1
        if steps[self] > 24:
            time.sleep(0.3)
        return step(self, actions)

    single = replace(SETTINGS, envs=1)
    honest = measure_long_stream(single, 30)
    monkeypatch.setattr(StreamDiTVectorEnv, "step", leaky_step)
    leaking = measure_long_stream(single, 30)
    assert leaking.memory_growth_mib > honest.memory_growth_mib + 40
    assert leaking.last_over_first > 1.5


def test_the_bench_writes_and_draws_what_it_measured(tmp_path: Path) -> None:
    report = run_bench(
        replace(
            BENCH,
            partitions=("reactive", "pipelined"),
            preset="tiny",
            long_steps=3,
        )
    )
    figures = json.loads(json.dumps(report.to_json()))
    assert len(figures["steps"]) == 4
    assert len(figures["parts"]) == 2
    assert figures["preset"]["frames_per_s"] > 0
    assert figures["memory"]["parameters"] == figures["preset"]["parameters"]
    plot_report(report, tmp_path / "new" / "bench.png")
    assert (tmp_path / "new" / "bench.png").stat().st_size > 10_000


def test_what_was_not_measured_is_not_in_the_figures() -> None:
    figures = run_bench(replace(BENCH, envs=(1,), steps=1)).to_json()
    assert not {"long", "preset", "memory", "windows"} & set(figures)


def test_the_papers_decoder_makes_four_frames_of_a_latent_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = ConvCodecConfig(channels=16, width=16, blocks=1)
    monkeypatch.setattr(paper_decoder, "DECODER", small)
    decoder = PaperDecoder()
    latents = torch.randn(2, 3, 16, 8, 8)
    frames = decoder.decode(latents)
    assert (frames.shape, frames.dtype) == ((2, 12, 64, 64, 3), torch.uint8)
    changed = latents.clone()
    changed[:, 1] += 1
    is_changed = (decoder.decode(changed) != frames).flatten(2).any(-1)
    assert is_changed.any(0).tolist() == [False] * 4 + [True] * 4 + [False] * 4


def test_a_move_of_the_paper_makes_two_latent_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = ConvCodecConfig(channels=16, width=16, blocks=1)
    monkeypatch.setattr(paper_decoder, "DECODER", codec)
    model = replace(
        PRESETS["paper-4b"].model,
        width=32,
        depth=2,
        heads=2,
        grid=(8, 8),
        text_width=8,
        window=(4, 4, 4),
    )
    monkeypatch.setitem(PRESETS, "paper-4b", Preset(codec=None, model=model))
    speed = measure_preset("paper-4b", "cpu", "float32", moves=2)
    assert speed.frames_per_move == 8
    assert speed.frames_per_s == pytest.approx(8e3 / (speed.move_ms + speed.decode_ms))


def kept_numbers(depth: int, width: int) -> float:
    """Return how many numbers autograd keeps of a token of a small `paper-4b`."""
    sizes = {"width": width, "depth": depth, "heads": 2, "text_width": width}
    model = StreamDiT(replace(PRESETS["paper-4b"].model, **sizes))
    view, _ = paper_view(model, "cpu", torch.float32)
    prompts = random_prompts(model, "cpu", torch.float32)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(view, prompts)
    tokens = view.latents.shape[1] * model.config.num_tokens
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / 4 / tokens


@pytest.mark.slow
def test_a_block_keeps_as_much_for_training_as_is_planned() -> None:
    for width in (32, 64):
        counted = (kept_numbers(4, width) - kept_numbers(2, width)) / 2
        assert counted == pytest.approx(KEPT_PER_WIDTH * width + KEPT_BESIDE, rel=0.05)


def test_the_plan_of_the_papers_size_counts_weights_and_tokens() -> None:
    plan = plan_memory(PRESETS["paper-4b"].model)
    assert plan.tokens == 16 * 32 * 32
    assert 4e9 < plan.parameters < 4.3e9
    assert plan.total_bytes == 20 * plan.parameters + 28 * plan.block_bytes
    assert "billion weights x 20 bytes" in plan.line()


@pytest.mark.slow
def test_windows_save_time(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(PRESETS["paper-4b"].model, grid=(32, 64), window=(4, 8, 8))
    monkeypatch.setitem(PRESETS, "paper-4b", Preset(codec=None, model=small))
    monkeypatch.setattr(window_cost, "REDUCED_WIDTH", 64)
    cost = window_cost.measure_windows("cpu", times=3)
    assert cost.tokens == 16 * 16 * 32
    assert cost.share < 0.6
    assert f"{cost.share:.0%}" in cost.line()


def test_unknown_names_are_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        run_bench(replace(BENCH, preset="paper"))
    with pytest.raises(PartitionError):
        run_bench(replace(BENCH, partitions=("reactve",)))
    assert "hardware" not in capsys.readouterr().out
