"""Frames depend on neither torch's settings around them nor on threads; forked processes go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from conftest import make_tiny_world
from support.envs import ENV_KINDS as KINDS
from support.envs import endless_bundle, plan

import streamdit_gym  # noqa: F401  (registers the ids)
from streamdit_gym.envs import generated_backend
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import ArgumentError
from streamdit_gym.live import LiveStream

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny world in which no task is ever done: episodes end for the tested reason alone."""
    return endless_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", [*KINDS, "simulator", "simulator's latents"])
def test_frames_do_not_depend_on_torchs_default_dtype(
    kind: str, dtype: torch.dtype, bundle: str
) -> None:
    simulated = (
        {"real": True}
        if kind == "simulator"
        else {"real": True, "observation": "latent", "backend": {"encoder": bundle}}
    )
    settings = {"world": bundle, **KINDS[kind]} if kind in KINDS else simulated

    def played() -> list[Any]:
        env = StreamDiTVectorEnv(2, **settings)
        results = [env.reset(seed=0)[0]]
        for actions in plan(2, 3):
            results += env.step(actions)[:2]
        return results

    expected = played()
    with default_dtype(dtype):
        found = played()
    for one, two in zip(expected, found, strict=True):
        assert one.dtype == two.dtype
        assert (one == two).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_a_live_stream_does_not_depend_on_torchs_default_dtype(dtype: torch.dtype) -> None:
    world = make_tiny_world()

    def played() -> list[Any]:
        live = LiveStream(
            world, partition="K4N2c1s2", transition=2, reference_simulator=True, seed=1
        )
        live.set_prompt("move left")
        frames = [frame for _ in range(4) for frame in live.step()]
        live.close()
        return frames

    expected = played()
    with default_dtype(dtype):
        found = played()
    for one, two in zip(expected, found, strict=True):
        assert np.array_equal(one.image, two.image)
        assert np.array_equal(one.simulator_image, two.simulator_image)
        assert one.readout == two.readout


@pytest.mark.parametrize(
    "around",
    [lambda: torch.autocast("cpu", torch.bfloat16), torch.inference_mode],
    ids=["autocast", "inference"],
)
def test_frames_do_not_depend_on_the_callers_context(
    around: Callable[[], Any], bundle: str
) -> None:
    for settings in (
        {"world": bundle},
        {"real": True, "observation": "latent", "backend": {"encoder": bundle}},
    ):
        env = StreamDiTVectorEnv(2, **settings)
        expected = [env.reset(seed=0)[0], env.step(np.array([1, 2]))[0]]
        with around():
            found = [env.reset(seed=0)[0], env.step(np.array([1, 2]))[0]]
        assert all((one == two).all() for one, two in zip(expected, found, strict=True))


@pytest.mark.parametrize(
    "settings", [{}, {"partition": "K4N2c1s1"}, {"backend": {"deterministic": True}}], ids=str
)
def test_threads_are_measured_at_the_first_reset_and_change_no_frame(
    settings: dict, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def measure(work: Callable[[], object], *, threads: int | None = None) -> int:
        calls.append(threads)
        for _ in range(3):
            work()
        return 2

    runs = []
    for choose in (measure, lambda work, threads=None: 2):
        monkeypatch.setattr(generated_backend, "choose_threads", choose)
        env = StreamDiTVectorEnv(2, world=bundle, **settings)
        runs.append(
            [
                env.reset(seed=0)[0],
                *(env.step(actions)[0] for actions in plan(2, 4)),
                env.reset()[0],
            ]
        )
    assert calls == [None] * (2 if "backend" in settings else 1), "once for each session"
    assert all((one == two).all() for one, two in zip(*runs, strict=True))


def test_the_number_of_threads_can_be_given(bundle: str) -> None:
    env = gymnasium.make(GENERATED, world=bundle, backend={"threads": 1})
    env.reset(seed=0)
    assert torch.get_num_threads() == 1
    for threads in (0, -1, 1.0, "2", True, 10**9):
        with pytest.raises(ArgumentError, match="threads"):
            gymnasium.make(GENERATED, world=bundle, backend={"threads": threads})


FORKED = """
import os, sys, gymnasium, numpy as np, torch, streamdit_gym
torch.set_num_threads(2)
env = gymnasium.make("StreamDiT/PushT-v0", world=sys.argv[1], backend={"threads": 2})
env.reset(seed=0)
env.step(1)
wide = torch.randn(1500, 1500)
(wide @ wide).sum()  # the parent's threads run
assert torch.get_num_threads() == 2
child = os.fork()
if child == 0:
    env.step(1)
    fresh = gymnasium.make("StreamDiT/PushT-v0", world=sys.argv[1])
    fresh.reset(seed=1)
    fresh.step(2)
    try:
        gymnasium.make("StreamDiT/PushT-v0", world=sys.argv[1], backend={"threads": 2}).reset()
    except streamdit_gym.errors.ArgumentError:
        os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
env.step(1)
assert torch.get_num_threads() == 2
print("fine")
"""

ASYNC = """
import sys, gymnasium, numpy as np, torch, streamdit_gym
torch.set_num_threads(2)
wide = torch.randn(1500, 1500)
(wide @ wide).sum()
settings = {"vectorization_mode": "async", "world": sys.argv[1]}
envs = gymnasium.make_vec("StreamDiT/PushT-v0", num_envs=2, **settings)
envs.reset(seed=0)
envs.step(np.array([1, 2]))
envs.close()
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("script", [FORKED, ASYNC], ids=["fork", "async"])
def test_forked_processes_do_not_wait_for_threads_that_they_do_not_have(
    script: str, bundle: str
) -> None:
    surroundings = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, bundle],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=surroundings,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.stdout.strip() == "fine", done.stderr
