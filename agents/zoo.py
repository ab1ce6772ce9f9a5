"""For RL Baselines3 Zoo: one batched world in place of the many single environments that it makes.

Takes: the Zoo's environments.  Gives: one batch of the same.  Knows nothing of: algorithms.
"""

from __future__ import annotations

from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from streamdit_gym.agents.config import Observation
from streamdit_gym.agents.training import make_venv


def BatchedWorld(
    venv: VecEnv, *, observation: Observation = "state", scored: bool = False
) -> VecEnv:
    """Return one batch of as many environments of the same id and settings; the given ones are
    closed.

    Args:
        venv: what the Zoo made.
        observation: what the agent sees, see `AgentTraining`.
        scored: see `make_venv`.
    """
    spec = venv.get_attr("spec")[0]
    settings = {
        name: value
        for name, value in spec.kwargs.items()
        if name not in ("render_mode", "real", "task", "observation")
    }
    world = settings.pop("world")
    count = venv.num_envs
    venv.close()
    return make_venv(
        spec.id, count, world=world, observation=observation, scored=scored, **settings
    )
