"""For RL Baselines3 Zoo: one batched world in place of the many single environments it makes."""

from __future__ import annotations

from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from streamdit_gym.agents.agent_envs import make_venv
from streamdit_gym.agents.policies.policy import Observation

NOT_PASSED_ON = ("render_mode", "real", "task", "observation")  # the id or `make_venv` sets them


def BatchedWorld(  # noqa: N802 (the Zoo names it like a wrapper's class)
    venv: VecEnv,
    *,
    observation: Observation = "state",
    frame_stack: int = 1,
    scored: bool = False,
    reward_scale: float = 1.0,
) -> VecEnv:
    """Return one batch of environments with the id and settings of the given ones.

    Args:
        venv: the Zoo's environments; they are closed.
        observation: what the agent observes, see `AgentTraining`.
        frame_stack: likewise.
        scored: see `make_venv`.
        reward_scale: likewise.
    """
    spec = venv.get_attr("spec")[0]
    settings = {name: value for name, value in spec.kwargs.items() if name not in NOT_PASSED_ON}
    world = settings.pop("world")
    num_envs = venv.num_envs
    venv.close()
    return make_venv(
        spec.id,
        num_envs,
        world=world,
        observation=observation,
        frame_stack=frame_stack,
        scored=scored,
        reward_scale=reward_scale,
        **settings,
    )
