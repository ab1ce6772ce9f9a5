"""Reacher as a world."""

from __future__ import annotations

from streamdit_gym.definition import EvaluationAdapter, Simulator, WorldDefinition
from streamdit_gym.envs.reacher.definition import (
    ACTIONS,
    CAMERA,
    ENV_ID,
    SPEC,
    TIP,
    enlarge_target,
    is_goal_reached,
    state,
)


def make_simulator() -> Simulator:
    """Return a new simulator; its packages are imported when it is needed."""
    from streamdit_gym.envs.gym_simulator import GymSettings, GymSimulator
    from streamdit_gym.envs.reacher.exploration import Exploration

    settings = GymSettings(
        env_id=ENV_ID,
        actions=ACTIONS,
        frame_size=SPEC.frame_size,
        make_kwargs={"default_camera_config": CAMERA},
        prepare=enlarge_target,
        state=state,
        explore=Exploration(),
    )
    return GymSimulator(settings)


WORLD = WorldDefinition.of(
    SPEC,
    make_simulator=make_simulator,
    recipe="reacher",
    evaluation=EvaluationAdapter(actor=TIP, reached=is_goal_reached),
)
