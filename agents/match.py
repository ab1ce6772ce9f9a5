"""Deprecated: policies are in `streamdit_gym.agents.policies`, scores in `policy_scores`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from streamdit_gym.agents.policies.load_policy import load_policy
from streamdit_gym.agents.policies.policy_file import TrainedAgent
from streamdit_gym.agents.policy_scores import EvaluationSettings, score_policy
from streamdit_gym.agents.scores import Score
from streamdit_gym.envs.worlds import shared_world

Act = Callable[[np.ndarray, np.ndarray], np.ndarray]


def scores_of(
    player: str | TrainedAgent,
    env: str,
    episodes: int,
    seed: int,
    *,
    num_envs: int = 16,
    world: str | None = None,
    partition: str = "reactive",
) -> Score:
    """Return `score_policy` of a policy."""
    _warn("scores_of", "policy_scores.score_policy")
    settings = EvaluationSettings(
        episodes=episodes, seed=seed, num_envs=num_envs, world=world, partition=partition
    )
    return score_policy(player, env, settings)


def random_player(venv: VecEnv, seed: int) -> Act:
    """Return how the random policy acts in some environments."""
    _warn("random_player", "policies.random_policy.RandomPolicy")
    rng = np.random.default_rng(seed)
    num_actions: Any = venv.action_space.n  # type: ignore[attr-defined]
    return lambda _observation, _starts: rng.integers(num_actions, size=venv.num_envs)


def scripted_player(world: str, task: str, noise: float, seed: int) -> Act:
    """Return how a world's scripted policy acts on frames."""
    _warn("scripted_player", "policies.scripted_policy.ScriptedPolicy")
    load_world = partial(shared_world, world, "cpu")
    policy = load_policy(f"scripted:{noise}", load_world, task)
    policy.reset(0, load_world().spec.actions, np.random.default_rng(seed))
    return policy.act


def _warn(old: str, new: str) -> None:
    text = f"streamdit_gym.agents.match.{old} is now streamdit_gym.agents.{new}"
    warnings.warn(text, DeprecationWarning, stacklevel=3)
