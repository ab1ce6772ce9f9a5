"""Small engines with random weights, and streams of theirs."""

from __future__ import annotations

import torch
from conftest import make_table, wake

from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.session import Session

CONFIG = StreamDiTConfig(width=32, depth=2, heads=2)
CUTS = ["K4N1c1s1", "K4N1c1s2", "K4N4c1s1", "K4N2c2s2", "K2N3c1s1", "K0N4c1s1"]


def engine_of(cut: str, config: StreamDiTConfig = CONFIG, **settings: object) -> Engine:
    torch.manual_seed(0)
    model = StreamDiT(config)
    wake(model)
    return Engine(
        model.eval(),
        make_table([f"phrase {i}" for i in range(6)]),
        Partition.parse(cut),
        **settings,
    )  # type: ignore[arg-type]


def begin(engine: Engine, rows: int = 3, seed: int = 0, frames: int = 2) -> Session:
    latents = torch.randn(rows, frames, 8, 8, 8, generator=torch.Generator().manual_seed(seed))
    noise = Noise.seeded([100 * seed + i for i in range(rows)])
    return engine.start(latents, torch.zeros(rows, frames, dtype=torch.long), noise)


def run(engine: Engine, session: Session, prompts: list[list[int]]) -> torch.Tensor:
    return torch.cat([engine.tick(session, torch.tensor(p)) for p in prompts], 1)
