"""Wrappers for StreamDiT environments, one pair of classes for each: single and vector.

`save_state` and `restore_state` of a wrapped environment are those of `env.unwrapped`;
`env.get_wrapper_attr("restore_state")` returns the observation as the wrapper shows it.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool
from torch import Tensor

from streamdit_gym.checks import check_real
from streamdit_gym.envs.arrays import as_array
from streamdit_gym.envs.env_spaces import pending_space
from streamdit_gym.envs.episodes import shifted
from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import ArgumentError

MAX_PENALTY = 1e6

Observations = dict[str, Any]


class VectorPendingActions(VectorWrapper[Any, Any, Any, Any, Any]):
    """Adds the actions in flight to observations: taken, and not yet visible.

    Observations become ``{"frame": frame, "pending": actions}``; instead of ``frame`` the key is
    ``latent`` or ``state``, if these are observed.

    Args:
        env: a batch of StreamDiT environments whose partition has N > 1.

    Raises:
        ArgumentError: if no action is ever in flight, or it is another environment.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self._base = _vector_base(env)
        space = _pending_space(env.single_observation_space, self._base)
        self.single_observation_space = space
        self.observation_space = batch_space(space, self._base.num_envs)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start all environments, or those of a mask."""
        observations, info = self.env.reset(seed=seed, options=options)
        return self._with_pending(observations, self._base.pending_actions), info

    def step(self, actions: Any) -> tuple[Observations, Any, Any, Any, dict[str, Any]]:
        """Give every environment its action."""
        pending_before = self._base.pending_actions
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        if "final_obs" in info:
            taken = as_array(actions)
            assert taken is not None  # the environment has taken them
            pending_at_end = shifted(pending_before, taken)
            info["final_obs"] = self._final(info["final_obs"], info["_final_obs"], pending_at_end)
        observations = self._with_pending(observations, self._base.pending_actions)
        return observations, rewards, terminated, truncated, info

    def restore_state(self, state: dict[str, Any]) -> Observations:
        """Go back to a saved state and return its observation."""
        observations = self._base.restore_state(state)
        return self._with_pending(observations, self._base.pending_actions)

    def _with_pending(self, observations: Any, pending: np.ndarray) -> Observations:
        return {self._base.observation: observations, "pending": _like(observations, pending)}

    def _final(self, final: Any, ended: Bool[np.ndarray, " n"], pending: np.ndarray) -> Any:
        """Return the final observations of rows that a step has ended and reset."""
        if isinstance(final, Tensor):
            return self._with_pending(final, pending)
        with_pending = np.array([None] * len(ended), dtype=object)
        for row in np.flatnonzero(ended):
            with_pending[row] = self._with_pending(final[row], pending[row].copy())
        return with_pending


class PendingActions(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds the actions in flight to observations; see `VectorPendingActions`.

    Args:
        env: a StreamDiT environment whose partition has N > 1.

    Raises:
        ArgumentError: if no action is ever in flight, or it is another environment.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, env)
        self._base = _base(env)
        self.observation_space = _pending_space(env.observation_space, self._base.batch)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_pending(observation), info

    def step(self, action: Any) -> tuple[Observations, Any, bool, bool, dict[str, Any]]:
        """Take an action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_pending(observation), reward, terminated, truncated, info

    def restore_state(self, state: dict[str, Any]) -> Observations:
        """Go back to a saved state and return its observation."""
        return self._with_pending(self._base.restore_state(state))

    def _with_pending(self, observation: Any) -> Observations:
        pending = _like(observation, self._base.pending_actions)
        return {self._base.observation: observation, "pending": pending}


class VectorSelfConsistencyPenalty(VectorWrapper[Any, Any, Any, Any, Any]):
    """Takes the world's self-consistency error off the reward.

    Every frame is denoised once more. How far the two results lie apart is in
    ``info["self_consistency_error"]``. A reference simulator's error is 0.

    Args:
        env: a batch of StreamDiT environments.
        penalty: how many times the error is taken off, from 0.

    Raises:
        ArgumentError: if the penalty is negative or not finite, or it is another environment.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], penalty: float = 1.0) -> None:
        super().__init__(env)
        self._penalty = _check_penalty(penalty)
        _vector_base(env).measure_self_consistency()

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Give every environment its action."""
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        errors = info["self_consistency_error"]
        if "final_info" in info:  # an ended row's own info is of its new episode
            final_errors = info["final_info"]["self_consistency_error"]
            errors = np.where(info["_final_info"], final_errors, errors)
        return observations, self._penalised(rewards, errors), terminated, truncated, info

    def _penalised(self, rewards: Any, errors: np.ndarray) -> Any:
        cost = _cost(self._penalty, errors)
        if isinstance(rewards, Tensor):
            return rewards - torch.from_numpy(cost).to(rewards.device)
        penalised = np.asarray(rewards, dtype=np.float32) - cost
        return penalised.astype(np.float64)


class SelfConsistencyPenalty(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Takes the world's self-consistency error off the reward.

    See `VectorSelfConsistencyPenalty`.

    Args:
        env: a StreamDiT environment.
        penalty: how many times the error is taken off, from 0.

    Raises:
        ArgumentError: if the penalty is negative or not finite, or it is another environment.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], penalty: float = 1.0) -> None:
        RecordConstructorArgs.__init__(self, penalty=penalty)
        gymnasium.Wrapper.__init__(self, env)
        self._penalty = _check_penalty(penalty)
        _base(env).measure_self_consistency()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        cost = _cost(self._penalty, info["self_consistency_error"])
        if isinstance(reward, Tensor):
            penalised: Any = reward - torch.tensor(cost).to(reward.device)
        else:
            penalised = float(np.float32(reward) - cost)
        return observation, penalised, terminated, truncated, info


def _check_penalty(penalty: Any) -> float:
    return check_real("penalty", penalty, least=0, most=MAX_PENALTY)


def _cost(penalty: float, errors: Any) -> Any:
    """Return what is taken off, in float32 as the environment's own rewards are."""
    errors = np.asarray(errors, dtype=np.float32)
    return np.float32(penalty) * errors


def _vector_base(env: VectorEnv[Any, Any, Any]) -> StreamDiTVectorEnv:
    base = env.unwrapped
    if not isinstance(base, StreamDiTVectorEnv):
        raise _not_ours(base)
    return base


def _base(env: gymnasium.Env[Any, Any]) -> StreamDiTEnv:
    base = env.unwrapped
    if not isinstance(base, StreamDiTEnv):
        raise _not_ours(base)
    return base


def _not_ours(env: object) -> ArgumentError:
    return ArgumentError(
        "this wrapper needs a StreamDiT environment",
        given=type(env).__name__,
        allowed="environments of gymnasium.make and make_vec with a StreamDiT/ id",
        remedy="use the class with or without Vector in its name, as the environment is",
    )


def _pending_space(space: spaces.Space[Any], base: StreamDiTVectorEnv) -> spaces.Dict:
    """Return the space of observations with the actions in flight.

    Raises:
        ArgumentError: if there never are any.
    """
    if not base.latency_frames or base.actions == "text":
        raise ArgumentError(
            "no action is ever pending here",
            given="PendingActions",
            allowed="generated worlds, partitions with N > 1, actions='own'",
            remedy="drop it",
        )
    pending = pending_space(base.world_spec.actions, base.latency_frames)
    return spaces.Dict({base.observation: space, "pending": pending})


def _like(observations: Any, pending: np.ndarray) -> Any:
    """Return pending actions as the observations are: an array, or a tensor on their device."""
    if isinstance(observations, Tensor):
        return torch.from_numpy(pending).to(observations.device)
    return pending
