"""Environments as agents of Stable-Baselines3 see them."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnv
from stable_baselines3.common.vec_env.vec_frame_stack import VecFrameStack
from stable_baselines3.common.vec_env.vec_monitor import VecMonitor

from streamdit_gym.agents.env_worlds import REACH as REACH
from streamdit_gym.agents.env_worlds import default_env as default_env
from streamdit_gym.agents.env_worlds import env_settings as env_settings
from streamdit_gym.agents.env_worlds import is_reference as is_reference
from streamdit_gym.agents.env_worlds import reference_id as reference_id
from streamdit_gym.agents.policies.policy import Observation
from streamdit_gym.agents.sb3_vec_env import SB3VecEnv, ScaledRewards, ScoredActions
from streamdit_gym.envs.wrappers import VectorSelfConsistencyPenalty


def make_venv(
    env: str,
    num_envs: int,
    *,
    world: str | None = None,
    observation: Observation = "state",
    frame_stack: int = 1,
    scored: bool = False,
    penalty: float | None = None,
    reward_scale: float = 1.0,
    **settings: Any,
) -> VecEnv:
    """Return environments as an agent sees them: the adapter, and episode statistics.

    Args:
        env: id, generated or real.
        num_envs: number of environments.
        world: a bundle other than the id's own; for a real id only the encoder is taken from it.
        observation: see `AgentTraining`.
        frame_stack: see `AgentTraining`; `TrainedPolicy` stacks what it sees by itself.
        scored: let actions of a menu be one number per entry, for algorithms with continuous
            actions; the largest is done.
        penalty: how many times the self-consistency error is taken off the reward; None: it is not
            measured.
        reward_scale: what rewards are multiplied by; statistics of episodes are of the rewards
            before.
        **settings: of the environment.

    Raises:
        UnknownNameError: if there is no such id.
        ArgumentError: if the bundle is of another world.
    """
    own_settings = env_settings(env, world)
    if "backend" in own_settings:
        settings["backend"] = {**settings.get("backend", {}), **own_settings["backend"]}
    envs = gymnasium.make_vec(
        env,
        num_envs=num_envs,
        observation=observation,
        autoreset_mode="SAME_STEP",
        **{**own_settings, **settings},
    )
    if penalty is not None:
        envs = VectorSelfConsistencyPenalty(envs, penalty)
    venv: VecEnv = ScaledRewards(VecMonitor(SB3VecEnv(envs)), reward_scale)
    if frame_stack > 1:
        channels = "first" if observation == "latent" else "last"
        venv = VecFrameStack(venv, frame_stack, channels)
    has_menu = isinstance(venv.action_space, spaces.Discrete)
    return ScoredActions(venv) if scored and has_menu else venv
