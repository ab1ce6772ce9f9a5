"""Recordings imported, and what came of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.imports.importer import import_recordings
from streamdit_gym.data.imports.recorded_world import recorded_definition
from streamdit_gym.data.imports.recordings import ImportSettings
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.errors import StreamDiTError

CODEC_ERROR = 3.0  # mean difference of grey levels that a video's compression makes
WHOLE_SIZE = ImportSettings(frame_size=(48, 64))


def imported(source: Path, settings: ImportSettings = WHOLE_SIZE) -> Dataset:
    target = source.parent / "recorded"
    import_recordings(source, "robot", target, settings)
    return Dataset(target)


def definition_of(dataset: Dataset) -> WorldDefinition:
    definition = recorded_definition(dataset)
    assert definition is not None
    return definition


def shards_of(dataset: Dataset) -> list[Shard]:
    for position in range(len(dataset)):
        dataset.check_shard(position)
    return [dataset.shard(position) for position in range(len(dataset))]


def episode_of(dataset: Dataset, steps: int) -> tuple[Shard, int]:
    """Return the only episode of so many steps: its shard and row."""
    for shard in shards_of(dataset):
        rows = np.flatnonzero(shard.lengths == steps)
        if len(rows):
            return shard, int(rows[0])
    raise AssertionError(f"no episode of {steps} steps")


def refusal(source: Path, settings: ImportSettings = WHOLE_SIZE) -> str:
    """Return the error of an import, and check that it leaves nothing."""
    target = source.parent / "recorded"
    with pytest.raises(StreamDiTError) as caught:
        import_recordings(source, "robot", target, settings)
    assert not target.exists()
    text = str(caught.value)
    for part in ("given:", "allowed:", "remedy:"):
        assert part in text, text
    return text
