"""Take Cover as a world."""

from __future__ import annotations

from streamdit_gym.definition import Simulator, WorldDefinition
from streamdit_gym.envs.take_cover.definition import (
    ACTIONS,
    CROP,
    ENV_ID,
    FRAME_SKIP,
    SPEC,
    state,
)


def make_simulator() -> Simulator:
    """Return a new simulator; its packages are imported when it is needed."""
    from streamdit_gym.envs.gym_simulator import GymSettings, GymSimulator

    settings = GymSettings(
        env_id=ENV_ID,
        actions=ACTIONS,
        frame_size=SPEC.frame_size,
        crop=CROP,
        image_key="screen",
        make_kwargs={"frame_skip": FRAME_SKIP},  # the game skips faster than steps would
        state=state,
    )
    return GymSimulator(settings)


WORLD = WorldDefinition.of(SPEC, make_simulator=make_simulator)
