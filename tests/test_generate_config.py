"""Settings of a generated data set that make no sense are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.generated import small

from streamdit_gym.errors import (
    ArgumentError,
    UnknownNameError,
)
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.generate_config import GenerateConfig


@pytest.mark.parametrize(
    "changes",
    [
        {"episodes": 0},
        {"episodes": "5"},
        {"episodes": 5.0},
        {"episodes": True},
        {"episodes": 10**24},
        {"steps": 10**24},
        {"batch": 10**24},
        {"batch": 2.5},
        {"seed": -1},
        {"seed": "7"},
        {"seed": 2**200},
        {"strength": float("nan")},
        {"strength": float("inf")},
        {"strength": 0.0},
        {"strength": 1.5},
        {"strength": "0.5"},
        {"dtype": "float16"},
        {"dtype": 32},
        {"world": None},
        {"policy": 5},
        {"task": None},
        {"partition": 4},
        {"images": Path("pictures")},
        {"over": 7},
        {"world": "\ud800"},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((ArgumentError, UnknownNameError)):
        GenerateConfig(**changes)


def test_a_shard_that_does_not_fit_in_memory_is_refused(tiny_bundle: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="does not fit in memory"):
        generate(small(tiny_bundle, episodes=4096, batch=4096, steps=100_000), tmp_path / "set")
    assert not (tmp_path / "set").exists()
