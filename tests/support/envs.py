"""Environments for tests."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv

from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.wrappers import VectorSelfConsistencyPenalty


def penalised_env(num_envs: int, penalty: float = 1.0, **settings: Any) -> VectorEnv[Any, Any, Any]:
    """Return a batch whose rewards carry the self-consistency penalty."""
    return VectorSelfConsistencyPenalty(StreamDiTVectorEnv(num_envs, **settings), penalty)
