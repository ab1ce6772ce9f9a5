"""The soak of shipped worlds finds what it looks for, and nothing in worlds that are well."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import soak_check
from soak_check import Place, Report, soak
from support.envs import spoil

PUSHT = Place("PushT", "reactive")


@pytest.mark.slow
def test_shipped_worlds_stand_a_short_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_check, "NUM_ENVS", 4)
    report = soak(1, steps=20)
    assert report.faults == len(soak_check.places())
    assert report.is_clean
    assert set(report.step_seconds) == {str(place) for place in soak_check.places()}


@pytest.fixture
def on_pusht(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_check, "NUM_ENVS", 4)
    monkeypatch.setattr(soak_check, "places", lambda: [PUSHT])


@pytest.mark.usefixtures("on_pusht")
def test_a_fault_that_spreads_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil_two(env: Any, row: int, rng: np.random.Generator) -> None:
        spoil(env, row, rng)
        spoil(env, (row + 1) % soak_check.NUM_ENVS, rng)

    monkeypatch.setattr(soak_check, "spoil", spoil_two)
    report = soak(1, steps=20)
    assert report.spread == report.faults == 1
    assert not report.is_clean


@pytest.mark.usefixtures("on_pusht")
def test_a_fault_that_is_not_noticed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_check, "spoil", lambda *_: None)
    report = soak(1, steps=20)
    assert report.missed == 1
    assert not report.is_clean


def test_growth_is_judged_from_the_first_cycle_on() -> None:
    report = Report(faults=1, memory=[100, 100, 102], step_seconds={"a": [1, 1, 2, 2], "b": [1.0]})
    assert report.growth == pytest.approx(0.02)
    assert report.slowdown == 2
    assert not report.is_clean


def test_a_soak_that_disturbed_nothing_proves_nothing() -> None:
    assert not Report().is_clean
    assert Report(faults=1).is_clean
