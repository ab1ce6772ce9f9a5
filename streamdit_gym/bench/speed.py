"""How fast it runs, everything included, and beside it what the machine could do at best.

Takes: a world or a preset.  Gives: figures, with the hardware named.  Knows nothing of: agents.
"""

from __future__ import annotations

import itertools
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from tqdm import trange

from streamdit_gym.envs.outputs import to_host
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import require
from streamdit_gym.files import atomic_write
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.precision import precision
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.presets import partition as named_partition
from streamdit_gym.presets import preset as named_preset
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import stream_view
from streamdit_gym.types import Conditioning

Figures = dict[str, Any]
PARTS = ("prompt", "denoise", "decode", "reward", "copy")
DECODER = ConvCodecConfig(size=512, channels=16, width=128)


class PaperDecoder(nn.Module):
    """What a preset without a codec of its own decodes with: like the paper's autoencoder,
    8 times up in space and 4 in time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.codec = ConvCodec(DECODER)
        self.spread = nn.Conv2d(DECODER.channels, 4 * DECODER.channels, 3, padding=1)

    def decode(self, latents: Float[Tensor, "b f c h w"]) -> UInt8[Tensor, "b 4*f H W 3"]:
        """Decode latents to uint8 frames."""
        spread = self.spread(latents.flatten(0, 1))
        return self.codec.decode(
            rearrange(spread, "(b f) (t c) h w -> b (f t) c h w", b=len(latents), t=4)
        )


def hardware(device: str) -> str:
    """Name the processor or the card."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        model = next(
            (
                line.split(":")[1].strip()
                for line in info.read_text().splitlines()
                if line.startswith("model name")
            ),
            model,
        )
    return f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {model}"


def timed(call: Callable[[], Any], times: int, warm: int, device: str) -> np.ndarray:
    """Return the seconds of each of `times` calls, after `warm` calls that do not count."""
    spent = []
    for i in range(warm + times):
        start = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if i >= warm:
            spent.append(time.perf_counter() - start)
    return np.array(spent)


def ceilings(device: str, dtype: str) -> Figures:
    """Measure what the machine can do at best: multiply square matrices (GFLOP/s),
    and copy memory (GB/s).
    """
    side = 8192 if device.startswith("cuda") else 1024
    a, b = (torch.randn(side, side, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    source = torch.empty(64 * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return {
        "matmul_gflops": float(
            2e-9 * side**3 / np.quantile(timed(lambda: a @ b, 20, 3, device), 0.1)
        ),
        "copy_gb_s": float(
            2e-9
            * source.numel()
            / np.quantile(timed(lambda: target.copy_(source), 10, 2, device), 0.1)
        ),
    }


def steps_of(
    world: str,
    count: int,
    steps: int,
    device: str,
    dtype: Any,
    partition: str,
    compile: bool = False,
) -> Figures:
    """Step a world's environments.

    A step is the whole of it: prompt, denoise, decode, reward, hand-over, and the resets of ended
    episodes.
    """
    env = StreamDiTVectorEnv(
        count,
        world=world,
        device=device,
        partition=partition,
        task="reach",
        backend={"dtype": dtype, "compile": compile},
        autoreset_mode="SAME_STEP",
    )
    env.reset(seed=0)
    spent = timed(lambda: env.step(env.action_space.sample()), steps, 5, device)
    state = env.save_state()
    env.close()
    if compile:
        # of graphs for all sizes and precisions the compiler keeps eight, and then compiles no more
        torch.compiler.reset()
    return {
        "envs": count,
        "partition": partition,
        "dtype": dtype,
        "compiled": compile,
        "steps_per_s": float(count * steps / spent.sum()),
        "p50_ms": float(1e3 * np.median(spent)),
        "p95_ms": float(1e3 * np.quantile(spent, 0.95)),
        "state_kib_per_env": _bytes(state) / 1024 / count,
    }


def counted() -> FlopCounterMode:
    """Count operations of matrix products, convolutions and attention in a context;
    torch alone takes a CPU's fused attention for none.
    """
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(
        display=False, custom_mapping={fused: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)}
    )


@torch.no_grad()
def parts_of(
    world: str,
    count: int,
    steps: int,
    device: str,
    dtype: str,
    partition: str,
    ceiling: Figures,
    compile: bool = False,
) -> Figures:
    """Time the parts of a step one by one (ms, medians),
    and how near the transformer comes to the machine's matrix products.
    """
    loaded = shared_world(world, device)
    cut = named_partition(partition)
    model, table, narrow = loaded.model_for(cut), loaded.table, dtype == "bfloat16"
    engine, plain = (
        Engine(model, table, cut, autocast=narrow, compile=compiled)
        for compiled in (compile, False)
    )
    spoken = [loaded.spec.menu[i % len(loaded.spec.menu)][0] for i in range(count)]
    bank = loaded.starts.latents
    first = bank[torch.arange(count) % len(bank)][:, None]
    rows = table.rows(spoken)
    session = plain.start(
        first, torch.zeros(count, 1, dtype=torch.long), Noise.seeded(range(count))
    )
    with counted() as counter:
        latents = plain.tick(session, rows).contiguous()
    frames = loaded.codec.decode(latents)
    session = engine.start(
        first, torch.zeros(count, 1, dtype=torch.long), Noise.seeded(range(count))
    )
    decoder, heads = engine.compiled(loaded.codec.decode), engine.compiled(loaded.readout)

    def decode() -> Any:
        with precision(loaded.device, narrow):
            return decoder(latents)

    def reward() -> Any:
        with precision(loaded.device, False):
            return heads(latents)

    calls: tuple[Callable[[], Any], ...] = (
        lambda: table.rows(spoken),
        lambda: engine.tick(session, rows),
        decode,
        reward,
        lambda: to_host(frames),
    )
    found: Figures = {
        name: float(1e3 * np.median(timed(call, steps, 3, device)))
        for name, call in zip(PARTS, calls, strict=True)
    }
    if compile:
        torch.compiler.reset()
    gflops = 1e-6 * counter.get_total_flops() / found["denoise"]
    return {
        "envs": count,
        "partition": partition,
        "dtype": dtype,
        "compiled": compile,
        "parts_ms": found,
        "denoise_gflop": 1e-9 * counter.get_total_flops(),
        "denoise_gflops": gflops,
        "share_of_matmul_ceiling": gflops / ceiling["matmul_gflops"],
    }


def flatness(world: str, steps: int, device: str, dtype: Any, partition: str) -> Figures:
    """Step one environment for long: are its last steps as quick as a young one's, and has memory
    grown?

    A machine's own speed wanders by more than a cost that grows would show. So the last tenth of
    the steps is taken in turn with the first steps, after the hundredth, of another environment.
    """
    settings: dict[str, Any] = {
        "device": device,
        "partition": partition,
        "task": "reach",
        "backend": {"dtype": dtype},
    }
    old, young = (
        StreamDiTVectorEnv(1, world=world, autoreset_mode="SAME_STEP", **settings) for _ in range(2)
    )
    part = max(1, steps // 10)

    def step(env: StreamDiTVectorEnv) -> float:
        return float(1e3 * timed(lambda: env.step(env.action_space.sample()), 1, 0, device)[0])

    old.reset(seed=0)
    memory = []
    for _ in trange(steps - part, desc="long stream", unit="step", mininterval=1.0):
        step(old)
        memory.append(_memory_mib(device))
    young.reset(seed=0)
    for _ in range(min(100, part)):
        step(young)
    pairs = np.array(
        [
            (step(young), step(old))
            for _ in trange(part, desc="in turn", unit="step", mininterval=1.0)
        ]
    )
    for env in (old, young):
        env.close()
    first, last = np.median(pairs, axis=0)
    return {
        "steps": steps,
        "first_ms": float(first),
        "last_ms": float(last),
        "last_over_first": float(last / first),
        "memory_growth_mib": float(
            np.mean(memory[-part:]) - np.mean(memory[min(100, part) : min(100, part) + part])
        ),
    }


def bench(
    world: str,
    envs: Sequence[int],
    steps: int,
    device: str,
    dtypes: Sequence[str] = ("float32",),
    partitions: Sequence[str] = ("reactive",),
    preset: str | None = None,
    long: int = 0,
    compile: bool = False,
) -> Figures:
    """Measure a world at every batch size, partition and precision, and a preset's transformer;
    print and return the figures.

    Args:
        world: the world.
        envs: batch sizes; where the time goes is measured at the largest.
        steps: steps per measurement.
        device: where to run.
        dtypes: precisions of the transformer.
        partitions: how to stream.
        preset: also time this preset with random weights.
        long: steps of the long stream; 0 for none.
        compile: compile the environments and parts that are measured, all but the long stream, and
            the preset's blocks and decoder.

    Raises:
        UnknownNameError: if there is no such world, partition or preset.
    """
    if preset is not None:
        named_preset(preset)
    cuts = [named_partition(name) for name in partitions]
    print(f"hardware: {hardware(device)}; torch {torch.__version__}")
    best = {dtype: ceilings(device, dtype) for dtype in dtypes}
    for dtype, ceiling in best.items():
        print(
            f"ceilings: {ceiling['matmul_gflops']:.0f} GFLOP/s of {dtype} matrix products, {ceiling['copy_gb_s']:.1f} GB/s of copying"
        )
    figures: Figures = {
        "hardware": hardware(device),
        "torch": torch.__version__,
        "world": world,
        "ceilings": best,
        "steps": [],
        "parts": [],
    }
    for dtype, name, count in itertools.product(dtypes, partitions, envs):
        row = steps_of(world, count, steps, device, dtype, name, compile)
        figures["steps"].append(row)
        print(
            f"{count:5d} envs   {row['steps_per_s']:9.1f} env steps/s   step p50 {row['p50_ms']:.1f} ms, p95 {row['p95_ms']:.1f} ms   "
            f"{row['state_kib_per_env']:.0f} KiB of state each   {name}, {dtype}{', compiled' * compile}"
        )
    for dtype, name in itertools.product(dtypes, partitions):
        row = parts_of(world, max(envs), steps, device, dtype, name, best[dtype], compile)
        figures["parts"].append(row)
        share = "  ".join(f"{part} {ms:.2f}" for part, ms in row["parts_ms"].items())
        print(
            f"{max(envs):5d} envs, ms: {share}; denoising reaches {row['share_of_matmul_ceiling']:.0%} of the ceiling   {name}, {dtype}"
        )
    if long:
        row = figures["long"] = flatness(world, long, device, dtypes[0], partitions[0])
        print(
            f"{long} steps: {row['last_ms']:.2f} ms at last, beside it a young stream {row['first_ms']:.2f} ms "
            f"({row['last_over_first']:.3f}), memory {row['memory_growth_mib']:+.1f} MiB"
        )
    if preset is not None:
        figures["preset"] = bench_preset(preset, device, dtypes[0], compile=compile)
    figures["partitions"] = [str(cut) for cut in cuts]
    return figures


@torch.no_grad()
def bench_preset(
    name: str, device: str, dtype: Any, moves: int = 5, compile: bool = False
) -> Figures:
    """Time a preset as in the paper, with random weights: one move of 8 chunks of 2 latent frames,
    and decoding a chunk.

    Compiled block by block: all blocks share one or two programs. Of a preset without a codec each
    latent frame is decoded to 4 frames, as many as the paper's autoencoder makes of it.

    Raises:
        UnknownNameError: if there is no such preset.
    """
    sizes = named_preset(name)
    config, kind = sizes.model, getattr(torch, dtype)
    with torch.device(device):
        torch.set_default_dtype(kind)
        try:
            model = StreamDiT(config).eval()
            codec = (PaperDecoder() if sizes.codec is None else ConvCodec(sizes.codec)).eval()
        finally:
            torch.set_default_dtype(torch.float32)
    if compile:
        for block in model.blocks:
            block.compile()
    cut = Partition(references=0, chunks=8, chunk_frames=2)
    shape = (1, cut.frames, config.channels, config.grid, config.grid)
    latents = torch.randn(shape, device=device, dtype=kind)
    times = torch.rand(1, cut.frames, device=device, dtype=kind)
    view = stream_view(
        latents[:, :0],
        times[:, :0],
        latents,
        times,
        causal=config.causal,
        chunk_frames=2,
        limit=max(1, config.references),
    )
    prompts = Conditioning(
        tokens=torch.randn(1, 16, config.text_width, device=device, dtype=kind),
        mask=torch.ones(1, 16, dtype=torch.bool, device=device),
        pooled=torch.randn(1, config.text_width, device=device, dtype=kind),
        index=torch.zeros(1, cut.frames, dtype=torch.long, device=device),
    )
    move = float(1e3 * np.median(timed(lambda: model(view, prompts), moves, 1, device)))
    decoder = torch.compile(codec.decode) if compile else codec.decode
    frames = decoder(latents[:, : cut.chunk_frames])
    decode = float(
        1e3
        * np.median(timed(lambda: decoder(latents[:, : cut.chunk_frames]).cpu(), moves, 1, device))
    )
    count = sum(p.numel() for p in model.parameters())
    made, size = frames.shape[1:3]
    rate = 1e3 * made / (move + decode)
    print(
        f"{name}: {count / 1e9:.2f} billion weights (random), one move {move:.0f} ms, decoding {made} frames of "
        f"{size} x {size} {decode:.1f} ms: {rate:.1f} frames/s"
    )
    return {
        "name": name,
        "parameters": count,
        "move_ms": move,
        "decode_ms": decode,
        "frames_per_move": made,
        "frames_per_s": rate,
        "size": size,
        "compiled": compile,
    }


def plot(figures: Figures, path: Path) -> None:
    """Draw env steps per second against the batch size, one line per partition and precision,
    and where the time goes.
    """
    figure_class = require("matplotlib.figure", "demo", "a plot").Figure
    figure = figure_class(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    kinds = sorted({(row["partition"], row["dtype"]) for row in figures["steps"]})
    for kind in kinds:
        rows = [row for row in figures["steps"] if (row["partition"], row["dtype"]) == kind]
        left.plot(
            [row["envs"] for row in rows],
            [row["steps_per_s"] for row in rows],
            marker="o",
            label=", ".join(kind),
        )
    left.set(
        xscale="log",
        yscale="log",
        xlabel="environments in one batch",
        ylabel="env steps/s",
        title=figures["hardware"],
    )
    left.title.set_fontsize(8)
    left.legend()
    base = np.zeros(len(figures["parts"]))
    names = [f"{row['partition']}\n{row['dtype']}" for row in figures["parts"]]
    for name in PARTS:
        heights = np.array([row["parts_ms"][name] / row["envs"] for row in figures["parts"]])
        right.bar(names, heights, bottom=base, label=name)
        base += heights
    right.set(
        ylabel="ms per env step",
        title=f"where the time goes, {figures['parts'][0]['envs']} environments",
    )
    right.title.set_fontsize(8)
    right.legend()
    with atomic_write(path) as part:
        figure.savefig(part, dpi=120)


def _bytes(state: Any) -> int:
    """Return the bytes of all tensors and arrays in a nested state."""
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    if isinstance(state, (list, tuple)):
        return sum(map(_bytes, state))
    return int(getattr(state, "nbytes", 0))


def _memory_mib(device: str) -> float:
    """Return the memory in use: of the card, or resident in this process (nan where the system does
    not tell).
    """
    if device.startswith("cuda"):
        return torch.cuda.memory_allocated(device) / 2**20
    statm = Path("/proc/self/statm")
    return (
        int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        if statm.is_file()
        else math.nan
    )
