"""What stands behind environments: streams begun in advance, and arrays handed out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_tiny_world

from streamdit_gym.envs.generated_backend import GeneratedBackend
from streamdit_gym.envs.outputs import to_host
from streamdit_gym.presets import partition as named_partition
from streamdit_gym.stream.engine import Engine

ENDS = {2: [1], 3: [0, 2], 5: [1, 2]}  # after which step which rows begin anew


def played(
    partition: str, stock: bool, latent: bool = False, temperature: float = 1.0
) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """Return what was seen, its scores, and how often streams were begun."""
    world = make_tiny_world()
    world.model.config = replace(world.model.config, temperature=temperature)
    engine = Engine(world.model, world.table, named_partition(partition))
    backend = GeneratedBackend(
        world, engine, 3, observation="latent" if latent else "frame", use_warm_pool=stock
    )
    begun: list[int] = []
    start = engine.start
    engine.start = lambda latents, *others, **settings: (
        begun.append(len(latents)),
        start(latents, *others, **settings),
    )[1]  # type: ignore[method-assign]
    rngs = [np.random.default_rng(seed) for seed in range(3)]
    found = [backend.reset(range(3), rngs, None)]
    for step in range(8):
        found.append(backend.step([world.spec.menu[(step + row) % 9][0] for row in range(3)], None))
        if rows := ENDS.get(step):
            found.append(backend.reset(rows, [rngs[row] for row in rows], None))
    observed = [reading.observed.numpy() for reading in found]
    scores = [reading.scores.numpy() for reading in found]
    return observed, scores, len(begun)


@pytest.mark.parametrize(
    ("partition", "temperature", "latent"),
    [("reactive", 1.0, False), ("reactive", 1.0, True), ("K4N2c1s1", 0.0, True)],
)
def test_streams_from_stock_are_those_begun_when_asked_for(
    partition: str, temperature: float, latent: bool
) -> None:
    seen, scores, begun = played(partition, stock=False, latent=latent, temperature=temperature)
    stocked, same, once = played(partition, stock=True, latent=latent, temperature=temperature)
    assert (begun, once) == (4, 1), "the whole bank, once"
    for one, two in zip(seen, stocked, strict=True):
        np.testing.assert_allclose(one.astype(float), two.astype(float), atol=1e-4 if latent else 1)
    for one, two in zip(scores, same, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
    assert np.abs(seen[-1].astype(float) - seen[0]).max() > 0.1, "they do move"


def test_streams_that_noise_begins_are_not_stocked() -> None:
    _, _, begun = played("K4N2c1s1", stock=True)
    assert begun == 4


def test_the_callers_own_frames_are_not_taken_from_stock() -> None:
    world = make_tiny_world()
    engine = Engine(world.model, world.table, named_partition("reactive"))
    backends = [GeneratedBackend(world, engine, 2, use_warm_pool=stock) for stock in (False, True)]
    frames = torch.randint(0, 255, (1, 2, 64, 64, 3), dtype=torch.uint8)
    found = []
    for backend in backends:
        rngs = [np.random.default_rng(seed) for seed in range(2)]
        backend.reset(range(2), rngs, None)
        backend.reset([1], rngs[1:], frames)
        found.append(backend.step(["stay", "stay"], None)[0])
    assert torch.equal(*found)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler has many of its own
def test_a_compiled_backend_makes_the_same_frames_and_compiles_nothing_in_a_step() -> None:
    """With one row and several chunks the frame that leaves is a slice,
    which looks like a whole tensor and is laid out otherwise.
    """
    world = make_tiny_world()
    found = []
    for compiled in (False, True):
        engine = Engine(world.model, world.table, named_partition("K4N2c1s1"), compile=compiled)
        backend = GeneratedBackend(world, engine, 1)
        seen = [backend.reset([0], [np.random.default_rng(0)], None)[0]]
        with torch.compiler.set_stance("fail_on_recompile" if compiled else "default"):
            seen += [backend.step([world.spec.menu[action][0]], None)[0] for action in (1, 5, 3)]
        found.append(torch.cat(seen).int())
    assert (found[0] - found[1]).abs().max() <= 1
    assert (found[0][-1] - found[0][0]).abs().max() > 1, "they do move"


def test_an_array_handed_out_is_a_copy() -> None:
    frames = torch.zeros(2, 3, dtype=torch.uint8).T
    array = to_host(frames)
    frames += 1
    assert array.shape == (3, 2)
    assert not array.any()
