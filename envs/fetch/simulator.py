"""The reference simulator of Fetch: gymnasium-robotics' environment, and scores of its tasks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from streamdit_gym.envs.fetch.definition import (
    ACTIONS,
    CAMERA,
    EDGE,
    ENV_ID,
    SPEC,
    prepare,
    state,
    task_scores,
)
from streamdit_gym.envs.fetch.exploration import Exploration
from streamdit_gym.envs.gym_simulator import GymSettings, GymSimulator


class FetchSimulator(GymSimulator):
    """The environment as a simulator; `streamdit_gym.definition.Simulator` has the protocol."""

    def __init__(self) -> None:
        settings = GymSettings(
            env_id=ENV_ID,
            actions=ACTIONS,
            frame_size=SPEC.frame_size,
            make_kwargs={"default_camera_config": CAMERA, "width": EDGE, "height": EDGE},
            prepare=prepare,
            state=state,
            explore=Exploration(),
        )
        super().__init__(settings)

    def scores(self) -> Float[np.ndarray, " 4"]:
        """Return potentials and successes, in the order of `WorldSpec.score_names`."""
        return task_scores(self._env.unwrapped)
