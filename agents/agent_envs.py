"""Environments as agents of Stable-Baselines3 see them."""

from __future__ import annotations

from typing import Any

import gymnasium
from stable_baselines3.common.vec_env.base_vec_env import VecEnv
from stable_baselines3.common.vec_env.vec_monitor import VecMonitor

import streamdit_gym
from streamdit_gym.agents.policies.policy import Observation
from streamdit_gym.agents.sb3_vec_env import SB3VecEnv, ScoredActions
from streamdit_gym.envs.registration import IDS
from streamdit_gym.envs.wrappers import VectorSelfConsistencyPenalty
from streamdit_gym.errors import UnknownNameError


def reference_id(env: str) -> str:
    """Return the id of the reference simulator with an id's spaces, prompts and reward.

    The reference of a ``-Real`` id is the id itself.
    """
    return env if "-Real-" in env else env.replace("-v", "-Real-v")


def is_reference(env: str) -> bool:
    """Return whether an id is that of a reference simulator."""
    return reference_id(env) == env


def env_settings(env: str) -> dict[str, Any]:
    """Return the settings that an id stands for, such as its world and its task.

    Raises:
        UnknownNameError: if there is no such id.
    """
    streamdit_gym.register()
    if env not in gymnasium.registry:
        raise UnknownNameError("environment", env, IDS)
    return gymnasium.spec(env).kwargs


def make_venv(
    env: str,
    num_envs: int,
    *,
    world: str | None = None,
    observation: Observation = "state",
    scored: bool = False,
    penalty: float | None = None,
    **settings: Any,
) -> VecEnv:
    """Return environments as an agent sees them: the adapter, and episode statistics.

    Args:
        env: id, generated or real.
        num_envs: number of environments.
        world: a bundle other than the id's own; for a real id only the encoder is taken from it.
        observation: see `AgentTraining`.
        scored: let actions be one number per menu entry, for algorithms with continuous actions;
            the largest is done.
        penalty: how many times the self-consistency error is taken off the reward; None: it is not
            measured.
        **settings: of the environment.

    Raises:
        UnknownNameError: if there is no such id.
    """
    own_settings = env_settings(env)
    if world is not None and own_settings.get("real"):
        settings["backend"] = {**settings.get("backend", {}), "encoder": world}
    elif world is not None:
        settings["world"] = world
    envs = gymnasium.make_vec(
        env, num_envs=num_envs, observation=observation, autoreset_mode="SAME_STEP", **settings
    )
    if penalty is not None:
        envs = VectorSelfConsistencyPenalty(envs, penalty)
    venv: VecEnv = VecMonitor(SB3VecEnv(envs))
    return ScoredActions(venv) if scored else venv
