"""What `generate` exports for other programs can be imported again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.imports.importer import import_recordings
from streamdit_gym.data.imports.recorded_world import recorded_definition
from streamdit_gym.data.imports.recordings import ImportSettings
from streamdit_gym.envs.pusht.definition import ACTION_VECTORS
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.generate_config import GenerateConfig

SMALL = GenerateConfig(episodes=3, steps=8, batch=3)
CODEC_ERROR = 2.5  # mean difference of grey levels


def exported_and_imported(kind: str, folder: Path) -> tuple[Dataset, Dataset]:
    """Return generated data, and what their export became."""
    generate(SMALL, folder / "generated", kind=kind)
    export = folder / "generated" / kind
    source = export / "streamdit/pusht-v0" if kind == "minari" else export
    import_recordings(source, "again", folder / "recorded", ImportSettings())
    return Dataset(folder / "generated"), Dataset(folder / "recorded")


def matching_rows(generated: Dataset, imported: Dataset) -> list[tuple[int, int, int]]:
    """Return a generated row, and the shard and row of the imported episode like it.

    Imports shuffle episodes.
    """
    frames = generated.shard(0).frames
    rows = []
    for position in range(len(imported)):
        for place, episode in enumerate(imported.shard(position).frames):
            length = min(len(episode), frames.shape[1])
            difference = np.abs(frames[:, :length].astype(int) - episode[:length])
            errors = difference.mean((1, 2, 3, 4))
            assert errors.min() < CODEC_ERROR
            rows.append((int(errors.argmin()), position, place))
    assert sorted(row for row, _, _ in rows) == [0, 1, 2]
    return rows


def test_lerobot(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    generated, imported = exported_and_imported("lerobot", tmp_path)
    definition = recorded_definition(imported)
    assert definition is not None
    assert definition.actions.names == ("x", "y")
    assert definition.state_names == tuple(generated.meta["state_names"])
    truth = generated.shard(0)
    for row, position, place in matching_rows(generated, imported):
        shard = imported.shard(position)
        steps = int(shard.lengths[place])
        assert steps == 7  # the last action leads to no frame
        vectors = np.array(ACTION_VECTORS)[truth.actions[row, :steps]]
        np.testing.assert_allclose(shard.actions[place, :steps], vectors, atol=1e-6)
        np.testing.assert_allclose(shard.states[place, :steps], truth.states[row, :steps])


def test_minari(tmp_path: Path) -> None:
    pytest.importorskip("minari")
    generated, imported = exported_and_imported("minari", tmp_path)
    truth = generated.shard(0)
    for row, position, place in matching_rows(generated, imported):
        shard = imported.shard(position)
        steps = int(shard.lengths[place])
        assert (shard.frames[place, :steps] == truth.frames[row, :steps]).all()
        assert (shard.actions[place, :steps] == truth.actions[row, :steps]).all()


def test_mp4(tmp_path: Path) -> None:
    generated, imported = exported_and_imported("mp4", tmp_path)
    truth = generated.shard(0)
    for row, position, place in matching_rows(generated, imported):
        shard = imported.shard(position)
        assert shard.lengths[place] == 8
        phrases = [imported.phrases[index] for index in shard.prompts[place]]
        spoken = [generated.phrases[index].casefold() for index in truth.prompts[row]]
        assert phrases == spoken
