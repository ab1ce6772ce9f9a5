"""Where the time of a step goes, and how near the transformer comes to the machine's ceiling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from streamdit_gym.bench.env_speed import StepSettings
from streamdit_gym.bench.hardware import Ceilings
from streamdit_gym.bench.timing import median_ms
from streamdit_gym.envs.outputs import to_host
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.model.precision import precision
from streamdit_gym.presets import partition_for
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.session import Session
from streamdit_gym.world import World

PARTS = ("prompt", "denoise", "decode", "reward", "copy")
WARM_UP_CALLS = 3


@dataclass(frozen=True, kw_only=True)
class StepParts:
    """Where the time of a step goes.

    Attributes:
        envs: environments in the batch.
        partition: how they stream.
        dtype: precision of the transformer.
        compiled: whether the model is compiled.
        parts_ms: median milliseconds of each of `PARTS`.
        denoise_gflop: GFLOP that denoising a batch's next frame takes.
        denoise_gflops: GFLOP/s reached in that.
        share_of_matmul_ceiling: the same, as a part of the machine's matrix products.
    """

    envs: int
    partition: str
    dtype: str
    compiled: bool
    parts_ms: dict[str, float]
    denoise_gflop: float
    denoise_gflops: float
    share_of_matmul_ceiling: float


def operation_counter() -> FlopCounterMode:
    """Return a context that counts operations of matrix products, convolutions and attention.

    torch alone takes a CPU's fused attention for none.
    """
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def count_fused(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    return FlopCounterMode(display=False, custom_mapping={fused: count_fused})


@torch.no_grad()
def measure_parts(settings: StepSettings, steps: int, ceilings: Ceilings) -> StepParts:
    """Time the parts of a step one by one."""
    world = shared_world(settings.world, settings.device)
    prompts = _prompts(world, settings.envs)
    rows = world.table.rows(prompts)
    gflop, latents = _count_operations(world, settings, rows)
    calls = _part_calls(world, settings, prompts, latents)
    parts_ms = {}
    for name in PARTS:
        parts_ms[name] = median_ms(
            calls[name], times=steps, warm_up=WARM_UP_CALLS, device=settings.device
        )
    if settings.compiled:
        torch.compiler.reset()
    gflops = 1e3 * gflop / parts_ms["denoise"]
    return StepParts(
        envs=settings.envs,
        partition=settings.partition,
        dtype=settings.dtype,
        compiled=settings.compiled,
        parts_ms=parts_ms,
        denoise_gflop=gflop,
        denoise_gflops=gflops,
        share_of_matmul_ceiling=gflops / ceilings.matmul_gflops,
    )


def _prompts(world: World, count: int) -> list[str]:
    menu = world.spec.menu
    return [menu[row % len(menu)][0] for row in range(count)]


def _make_engine(world: World, settings: StepSettings, *, compiled: bool) -> Engine:
    partition = partition_for(world, settings.partition)
    return Engine(
        world.model_for(partition),
        world.table,
        partition,
        autocast=settings.dtype == "bfloat16",
        compile=compiled,
    )


def _start_session(world: World, engine: Engine, count: int) -> Session:
    bank = world.starts.latents
    start_latents = bank[torch.arange(count) % len(bank)][:, None]
    start_prompts = torch.zeros(count, 1, dtype=torch.long)
    return engine.start(start_latents, start_prompts, Noise.seeded(range(count)))


def _count_operations(world: World, settings: StepSettings, rows: Tensor) -> tuple[float, Tensor]:
    """Return the GFLOP of one tick, and the latents that it made."""
    engine = _make_engine(world, settings, compiled=False)
    session = _start_session(world, engine, settings.envs)
    with operation_counter() as counter:
        latents = engine.tick(session, rows).contiguous()
    return 1e-9 * counter.get_total_flops(), latents


def _part_calls(
    world: World, settings: StepSettings, prompts: list[str], latents: Tensor
) -> dict[str, Callable[[], Any]]:
    """Return what each part of a step does, by its name."""
    frames = world.codec.decode(latents)
    engine = _make_engine(world, settings, compiled=settings.compiled)
    session = _start_session(world, engine, settings.envs)
    rows = world.table.rows(prompts)
    decoder = engine.sampler.compile(world.codec.decode)
    readout = engine.sampler.compile(world.readout)

    def decode() -> Any:
        with precision(world.device, settings.dtype == "bfloat16"):
            return decoder(latents)

    def reward() -> Any:
        with precision(world.device, False):
            return readout(latents)

    return {
        "prompt": lambda: world.table.rows(prompts),
        "denoise": lambda: engine.tick(session, rows),
        "decode": decode,
        "reward": reward,
        "copy": lambda: to_host(frames),
    }
