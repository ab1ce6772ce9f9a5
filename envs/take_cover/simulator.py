"""The reference simulator of Take Cover: VizDoom's environment, which can begin anew by chance."""

from __future__ import annotations

import numpy as np

from streamdit_gym.envs.gym_simulator import MAX_SEED, GymSettings, GymSimulator
from streamdit_gym.envs.take_cover.definition import (
    ACTIONS,
    CROP,
    ENV_ID,
    FRAME_SKIP,
    SPEC,
    UNDECIDED_STEPS,
    state,
)
from streamdit_gym.errors import NotReadyError


class TakeCoverSimulator(GymSimulator):
    """The environment as a simulator; `streamdit_gym.definition.Simulator` has the protocol."""

    def __init__(self) -> None:
        settings = GymSettings(
            env_id=ENV_ID,
            actions=ACTIONS,
            frame_size=SPEC.frame_size,
            crop=CROP,
            image_key="screen",
            make_kwargs={"frame_skip": FRAME_SKIP},  # the game skips faster than steps would
            state=state,
        )
        super().__init__(settings)

    def reseed(self, rng: np.random.Generator) -> None:
        """Let another generator decide everything that no frame has shown yet.

        The game takes a seed only when an episode begins. So its first steps are repeated under
        another one: in them no frame depends on the seed.

        Raises:
            NotReadyError: before the first reset, and after those steps.
        """
        given = "no reset" if self._seed is None else f"{len(self._actions)} steps after a reset"
        if self._seed is None or len(self._actions) > UNDECIDED_STEPS:
            raise NotReadyError(
                "Take Cover cannot be reseeded here",
                given=given,
                allowed=f"0 to {UNDECIDED_STEPS} steps after a reset",
                remedy="reset it, and reseed it before monsters act",
            )
        self._replay(int(rng.integers(MAX_SEED)), list(self._actions))
