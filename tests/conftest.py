"""Shared fixtures: a tiny world with random weights, and the shipped world.

Tests use the tiny world for everything that does not need trained weights.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.presets import preset
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.world import Starts, World

if TYPE_CHECKING:
    from streamdit_gym.envs.vector_env import StreamDiTVectorEnv


@pytest.fixture(autouse=True)
def _same_surroundings() -> None:
    # two threads wait for each other where other programs run
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    # a shell that starts the tests in the background ignores Ctrl-C, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def no_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is compiled be traced and guarded as always, but run operation by operation.

    To generate machine code takes minutes; the slow test of backends does so.
    """
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def wake(module: torch.nn.Module) -> None:
    """Give zero-initialised layers random weights, so that nothing is hidden behind a zero."""
    generator = torch.Generator().manual_seed(7)
    for parameter in module.parameters():
        if parameter.ndim > 1 and not parameter.any():
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


def make_table(phrases: list[str]) -> PromptTable:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(len(phrases), 5, 384, generator=generator)
    mask = torch.ones(len(phrases), 5, dtype=torch.bool)
    mask[::2, 3:] = False
    return PromptTable(
        phrases, tokens * mask[..., None], mask, torch.randn(len(phrases), 384, generator=generator)
    )


def make_tiny_world() -> World:
    torch.manual_seed(1)
    sizes = preset("tiny")
    assert sizes.codec is not None
    codec, model = ConvCodec(sizes.codec), StreamDiT(sizes.model)
    heads = Readout(
        ReadoutConfig(state_names=SPEC.state_names, score_names=SPEC.score_names, width=8)
    )
    for module in (codec, model, heads):
        wake(module)
        module.eval().requires_grad_(False)
    table = make_table([phrase for phrases in SPEC.menu for phrase in phrases[:2]])
    starts = Starts(latents=torch.randn(6, 8, 8, 8), states=torch.randn(6, 6))
    return World(
        spec=SPEC,
        model=model,
        codec=codec,
        readout=heads,
        table=table,
        starts=starts,
        facts={"license": "Apache-2.0"},
    )


@pytest.fixture(scope="session")
def world() -> World:
    """The shipped world."""
    return World.from_pretrained("PushT")


@pytest.fixture
def tiny_world() -> World:
    return make_tiny_world()


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny world saved on disk, as a path that environments can load."""
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    make_tiny_world().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def envs(tiny_bundle: str) -> StreamDiTVectorEnv:
    """Two environments that have been reset."""
    from support.envs import started_envs

    return started_envs(tiny_bundle)


@pytest.fixture
def untouched(tiny_bundle: str) -> StreamDiTVectorEnv:
    """The same two environments, which nobody gives anything wrong."""
    from support.envs import started_envs

    return started_envs(tiny_bundle)


@pytest.fixture(scope="session")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five generated episodes of the shipped world without loss; tests only read them."""
    from support.generated import SMALL

    from streamdit_gym.generate.dataset_builder import GeneratedDataset, generate

    folder = tmp_path_factory.mktemp("generated")
    dataset = generate(SMALL, folder)
    assert dataset == GeneratedDataset(
        num_generated=5, num_kept=5, num_frames=45, location=str(folder)
    )
    return folder


@pytest.fixture(scope="session")
def generated_sets(tiny_bundle: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A data set of each format that is installed here; tests only read them."""
    from support.generated import KINDS, small

    from streamdit_gym.generate.dataset_builder import generate

    folders = {}
    for kind in KINDS:
        try:
            folder = tmp_path_factory.mktemp(kind)
            generate(small(tiny_bundle), folder, kind=kind)
            folders[kind] = folder
        except ImportError:
            continue
    return folders
