"""The environments on which other people's programs are tried: short episodes of a tiny world."""

from __future__ import annotations

from typing import Any

import gymnasium
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
