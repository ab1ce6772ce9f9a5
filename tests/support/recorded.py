"""A tiny recording of PushT."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.envs.pusht.world import WORLD


def record_tiny(folder: Path) -> Path:
    """Record two shards whose phrases are embedded already, at random."""
    record(WORLD, folder, RecordConfig(shards=2, episodes=3, steps=16))
    embed_at_random(folder)
    return folder


def embed_at_random(folder: Path) -> None:
    """Write embeddings of a data set's phrases; the prompt encoder would take a minute."""
    count = len(Dataset(folder).phrases)
    embeddings = {
        "tokens": torch.randn(count, 2, 384).half(),
        "mask": torch.ones(count, 2, dtype=torch.bool),
        "pooled": torch.randn(count, 384).half(),
    }
    save_file(embeddings, folder / "phrases.safetensors")
