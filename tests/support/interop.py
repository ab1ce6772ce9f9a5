"""The environments on which other people's programs are tried: short episodes of a tiny world."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import pytest
from gymnasium.vector import AutoresetMode

ID = "StreamDiT/PushT-Reach-v0"
HORIZON = 3
MODES = [mode.name for mode in AutoresetMode]
PIPELINED = {"partition": "pipelined"}
RENDERED = {"render_mode": "rgb_array"}


def make_single(bundle: str, **settings: Any) -> Any:
    return gymnasium.make(ID, world=bundle, **{"horizon": HORIZON, **settings})


def make_batch(bundle: str, mode: str = "NEXT_STEP", num_envs: int = 2, **settings: Any) -> Any:
    settings = {"horizon": HORIZON, "autoreset_mode": mode, **settings}
    return gymnasium.make_vec(ID, num_envs=num_envs, world=bundle, **settings)


@pytest.fixture
def make(tiny_bundle: str) -> Callable[..., Any]:
    return partial(make_single, tiny_bundle)


@pytest.fixture
def make_vec(tiny_bundle: str) -> Callable[..., Any]:
    return partial(make_batch, tiny_bundle)
