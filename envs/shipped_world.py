"""What a shipped world's folder says about its world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from streamdit_gym.definition import ReferenceSimulator, Simulator, WorldSpec

ScriptedPolicy = Callable[[Float[np.ndarray, "n s"], str], Int[np.ndarray, " n"]]


def _same(text: str) -> str:
    return text


@dataclass(frozen=True, kw_only=True)
class ShippedWorld:
    """A world with a reference simulator.

    Attributes:
        spec: actions, phrases, tasks.
        make_simulator: makes a reference simulator.
        starts: how the training data's and the environments' episodes start, with their shares.
        hard_start: how some more episodes of the training data start; no environment starts there.
        hard_start_share: share of these episodes in the training data.
        reference: the simulator as the evaluation sees it.
        scripted_policy: states and a task's name to actions.
        action_names: names of the numbers of an action vector; none if actions are no vectors.
        action_vectors: each menu action as numbers.
        move_prompt: takes from a prompt the part that asks for a move.
    """

    spec: WorldSpec
    make_simulator: Callable[[], Simulator]
    starts: dict[str, float]
    reference: ReferenceSimulator
    scripted_policy: ScriptedPolicy
    hard_start: str = ""
    hard_start_share: float = 0.0
    action_names: tuple[str, ...] = ()
    action_vectors: tuple[tuple[float, ...], ...] = ()
    move_prompt: Callable[[str], str] = _same
