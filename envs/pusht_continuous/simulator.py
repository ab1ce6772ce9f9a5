"""The reference simulator of PushT with continuous actions."""

from __future__ import annotations

import numpy as np

from streamdit_gym.definition import Action
from streamdit_gym.envs.pusht.exploration import ExplorationPolicy
from streamdit_gym.envs.pusht.geometry import Point
from streamdit_gym.envs.pusht.scripted_policy import STEP_UNITS
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.envs.pusht_continuous.definition import ACTIONS, SPEC
from streamdit_gym.envs.pusht_continuous.policies import ContinuousExploration
from streamdit_gym.errors import ActionError


class PushTContinuousSimulator(PushTSimulator):
    """PushT whose target is set anywhere within a step; `Simulator` has the protocol."""

    spec = SPEC

    def _new_exploration(self) -> ExplorationPolicy:
        return ContinuousExploration()

    def _checked_action(self, action: Action) -> Action:
        values = np.asarray(action)
        is_pair = values.shape == ACTIONS.shape and values.dtype.kind in "iuf"
        if not is_pair or not (np.abs(values) <= 1).all():  # NaN is none, either
            raise ActionError(
                "no such move",
                given=action,
                allowed="two numbers from -1 to 1: x and y",
                remedy="clip them",
            )
        return [float(value) for value in values]

    def _step_ahead(self, action: Action) -> Point:
        return STEP_UNITS * np.array(action, dtype=float)
