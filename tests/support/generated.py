"""Small generated data sets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from streamdit_gym.data.formats import FORMATS
from streamdit_gym.generate.generate_config import GenerateConfig

SMALL = GenerateConfig(episodes=5, steps=8, batch=2)
KINDS = sorted(FORMATS)
NEEDS = {"lerobot": "pyarrow", "minari": "minari"}


def small(bundle: str, **changes: Any) -> GenerateConfig:
    """Return settings of five short episodes of the world in a bundle."""
    return GenerateConfig(**{"world": bundle, "episodes": 5, "steps": 4, "batch": 2, **changes})


def need(kind: str) -> None:
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its path, HDF5 left out:
    its bytes tell when it was written.
    """
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".hdf5"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def copy_of(data_sets: dict[str, Path], kind: str, tmp_path: Path) -> Path:
    need(kind)
    shutil.copytree(data_sets[kind], tmp_path / "set")
    return tmp_path / "set"
