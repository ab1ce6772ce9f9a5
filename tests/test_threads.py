"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from streamdit_gym import threads
from streamdit_gym.errors import ArgumentError
from streamdit_gym.threads import ThreadChoice, choose_threads


class Machine:
    """A machine on which two threads are slow while other programs run."""

    is_busy = True

    def seconds(self, work: Callable[[], object]) -> float:
        return 9.0 if self.is_busy and torch.get_num_threads() == 2 else 1.0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_choice", ThreadChoice(default=2))
    machine = Machine()
    monkeypatch.setattr(threads, "_median_seconds", machine.seconds)
    torch.set_num_threads(2)
    yield machine
    torch.set_num_threads(1)


def test_one_thread_is_taken_where_several_are_slow(machine: Machine) -> None:
    assert choose_threads(int) == 1
    assert torch.get_num_threads() == 1


def test_all_threads_are_kept_where_they_are_as_fast(machine: Machine) -> None:
    machine.is_busy = False
    assert choose_threads(int) == 2
    assert torch.get_num_threads() == 2


def test_a_process_measures_once_unless_asked_again(machine: Machine) -> None:
    assert choose_threads(int) == 1
    machine.is_busy = False
    assert choose_threads(int) == 1
    assert choose_threads(int, again=True) == 2


def test_the_callers_choice_overrules_every_measurement(machine: Machine) -> None:
    assert choose_threads(int, threads=2) == 2
    assert choose_threads(int, again=True) == 2


def test_the_environment_variable_overrules_the_measurement(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert choose_threads(int) == 2


def test_a_forked_process_refuses_several_threads(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "forked", lambda: True)
    with pytest.raises(ArgumentError, match="spawn"):
        choose_threads(int, threads=2)
