"""The speed of whole environment steps, for many environments and for a long stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import trange

from streamdit_gym.bench.hardware import memory_mib
from streamdit_gym.bench.timing import call_seconds
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv

WARM_UP_STEPS = 5
YOUNG_STEPS = 100  # of a long stream's first steps, which are no measure yet


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """What is stepped, and how.

    Attributes:
        world: shipped name, folder or Hub id.
        envs: environments in one batch.
        device: where to run.
        dtype: precision of the transformer.
        partition: how to stream.
        compiled: whether the model is compiled.
    """

    world: str
    envs: int
    device: str
    dtype: str = "float32"
    partition: str = "reactive"
    compiled: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchSpeed:
    """The speed of one batch of environments; milliseconds are those of a batch's step."""

    envs: int
    partition: str
    dtype: str
    compiled: bool
    steps_per_s: float
    p50_ms: float
    p95_ms: float
    state_kib_per_env: float


@dataclass(frozen=True, kw_only=True)
class LongStream:
    """Whether a long stream slows down or leaks.

    Attributes:
        steps: of the long stream.
        first_ms: median step of a young stream.
        last_ms: median step of the long stream's last tenth, taken in turn with the young one's.
        last_over_first: their ratio.
        memory_growth_mib: growth from the first tenth to the last.
    """

    steps: int
    first_ms: float
    last_ms: float
    last_over_first: float
    memory_growth_mib: float


def measure_steps(settings: StepSettings, steps: int) -> BatchSpeed:
    """Step a batch of environments with random actions.

    A step is the whole of it: prompt, denoising, decoding, reward, hand-over, and the resets of
    ended episodes.
    """
    env = _make_env(settings)
    env.reset(seed=0)
    seconds = call_seconds(
        lambda: env.step(env.action_space.sample()),
        times=steps,
        warm_up=WARM_UP_STEPS,
        device=settings.device,
    )
    state_bytes = nested_bytes(env.save_state())
    env.close()
    if settings.compiled:
        # of graphs for all sizes and precisions the compiler keeps eight, and then compiles no more
        torch.compiler.reset()
    return BatchSpeed(
        envs=settings.envs,
        partition=settings.partition,
        dtype=settings.dtype,
        compiled=settings.compiled,
        steps_per_s=float(settings.envs * steps / seconds.sum()),
        p50_ms=float(1e3 * np.median(seconds)),
        p95_ms=float(1e3 * np.quantile(seconds, 0.95)),
        state_kib_per_env=state_bytes / 1024 / settings.envs,
    )


def measure_long_stream(settings: StepSettings, steps: int) -> LongStream:
    """Step one environment for long: is it as quick as a young one, and has memory grown?

    A machine's own speed wanders by more than a growing cost would show. So the last tenth of the
    steps is taken in turn with the first steps, after the hundredth, of another environment.
    """
    old = _make_env(settings)
    young = _make_env(settings)
    num_paired = max(1, steps // 10)
    num_young = min(YOUNG_STEPS, num_paired)
    old.reset(seed=0)
    memory = []
    for _ in trange(steps - num_paired, desc="long stream", unit="step", mininterval=1.0):
        _step_ms(old, settings.device)
        memory.append(memory_mib(settings.device))
    young.reset(seed=0)
    for _ in range(num_young):
        _step_ms(young, settings.device)
    first, last = [], []
    for _ in trange(num_paired, desc="in turn", unit="step", mininterval=1.0):
        first.append(_step_ms(young, settings.device))
        last.append(_step_ms(old, settings.device))
    old.close()
    young.close()
    first_ms = float(np.median(first))
    last_ms = float(np.median(last))
    early_memory = np.mean(memory[num_young : num_young + num_paired])
    return LongStream(
        steps=steps,
        first_ms=first_ms,
        last_ms=last_ms,
        last_over_first=last_ms / first_ms,
        memory_growth_mib=float(np.mean(memory[-num_paired:]) - early_memory),
    )


def nested_bytes(state: Any) -> int:
    """Return the bytes of all tensors and arrays in a nested state."""
    if isinstance(state, dict):
        return sum(map(nested_bytes, state.values()))
    if isinstance(state, (list, tuple)):
        return sum(map(nested_bytes, state))
    return int(getattr(state, "nbytes", 0))


def _make_env(settings: StepSettings) -> StreamDiTVectorEnv:
    return StreamDiTVectorEnv(
        settings.envs,
        world=settings.world,
        device=settings.device,
        partition=settings.partition,
        backend={"dtype": settings.dtype, "compile": settings.compiled},
        autoreset_mode="SAME_STEP",
    )


def _step_ms(env: StreamDiTVectorEnv, device: str) -> float:
    def step() -> Any:
        return env.step(env.action_space.sample())

    return float(1e3 * call_seconds(step, times=1, warm_up=0, device=device)[0])
