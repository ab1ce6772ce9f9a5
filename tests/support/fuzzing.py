"""Random values, and a check that a refused call changes nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import StreamDiTError

SCALE = float(os.environ.get("FUZZ", "1"))


def fuzz(examples: int) -> Callable[[Any], Any]:
    """Try so many examples, the same ones each time, or other ones in a campaign."""
    return settings(
        max_examples=max(1, round(SCALE * examples)),
        deadline=None,
        derandomize=SCALE == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


texts = st.text(st.characters(), max_size=300) | st.sampled_from(
    ["", " ", "\ud800", "a\0b", "../x", "PushT", "x" * 10_000]
)
numbers = (
    st.integers(-3, 5)
    | st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**24, 10**400])
    | st.floats()
    | st.sampled_from(
        [np.int64(2), np.uint8(1), np.float32(0.5), np.float64(math.nan), np.bool_(True), 1j]
    )
)
junk = st.recursive(
    st.none() | st.booleans() | numbers | texts | st.binary(max_size=8) | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=5,
)


class Pair:
    """An environment that gets random calls, and how it was before each."""

    def __init__(self, **arguments: Any) -> None:
        self.env = StreamDiTVectorEnv(2, **arguments)
        self.env.reset(seed=0)
        self.env.step(self.env.action_space.sample())

    def unchanged_by(self, call: Callable[[StreamDiTVectorEnv], Any]) -> bool:
        """Make a call; return False if it worked, and True if it was refused,
        after checking that nothing changed.
        """
        before = self.env.save_state()
        try:
            call(self.env)
        except StreamDiTError:
            assert same(before, self.env.save_state()), "a refused call changed the environment"
            return True
        return False


def same(a: Any, b: Any) -> bool:
    """Return whether two saved states are equal to the bit."""
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and a.dtype == b.dtype
            and torch.equal(a.nan_to_num(), b.nan_to_num())
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
