"""The same work in several processes."""

from __future__ import annotations

import math

import pytest
from tqdm import tqdm

from streamdit_gym.data.processes import map_in_processes


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    bar = tqdm(total=5, disable=True)
    assert map_in_processes(math.sqrt, [float(i * i) for i in range(5)], workers, bar) == [
        0,
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_job_is_the_callers(workers: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        map_in_processes(math.sqrt, [1.0, -1.0], workers, tqdm(total=2, disable=True))
