"""What `gymnasium.make` and `make_vec` call: the environments, and arguments of earlier versions.

Arguments that have become wrappers or backend options work for one more release, with a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Unpack

import gymnasium
from gymnasium.vector import VectorEnv

from streamdit_gym.checks import check_bool
from streamdit_gym.envs.settings import BackendOptions, EnvKeywords, SingleEnvKeywords
from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.wrappers import (
    PendingActions,
    SelfConsistencyPenalty,
    VectorPendingActions,
    VectorSelfConsistencyPenalty,
)

BACKEND_OPTIONS = {field.name: field.name for field in fields(BackendOptions)} | {"eyes": "encoder"}
PENALTIES = ("self_consistency_penalty", "disagreement_penalty")
# The info key of earlier versions, which goes with the argument of earlier versions.
OLD_INFO_KEY = "disagreement"


class SingleKeywords(SingleEnvKeywords, total=False):
    """What `gymnasium.make` hands on."""

    render_mode: str | None


class BatchKeywords(EnvKeywords, total=False):
    """What `gymnasium.make_vec` hands on."""

    num_envs: int


@dataclass
class OldArguments:
    """Arguments of earlier versions that are wrappers now.

    Attributes:
        pending_actions: whether actions in flight are observed.
        penalty: on the self-consistency error; None: none.
        has_old_info_key: whether infos hold the error under its old name, too.
    """

    pending_actions: bool = False
    penalty: float | None = None
    has_old_info_key: bool = False


def make_env(**arguments: Unpack[SingleKeywords]) -> gymnasium.Env[Any, Any]:
    """Return a single environment; see `EnvSettings`."""
    current, old = _split(arguments)
    env: gymnasium.Env[Any, Any] = StreamDiTEnv(**current)
    if old.penalty is not None:
        wrapper = DisagreementPenalty if old.has_old_info_key else SelfConsistencyPenalty
        env = wrapper(env, old.penalty)
    return PendingActions(env) if old.pending_actions else env


def make_vector_env(**arguments: Unpack[BatchKeywords]) -> VectorEnv[Any, Any, Any]:
    """Return a batch of environments; see `EnvSettings`."""
    current, old = _split(arguments)
    env: VectorEnv[Any, Any, Any] = StreamDiTVectorEnv(**current)
    if old.penalty is not None:
        wrapper = (
            VectorDisagreementPenalty if old.has_old_info_key else VectorSelfConsistencyPenalty
        )
        env = wrapper(env, old.penalty)
    return VectorPendingActions(env) if old.pending_actions else env


# Gymnasium looks here for the render modes.
make_env.metadata = StreamDiTEnv.metadata  # type: ignore[attr-defined]
make_vector_env.metadata = StreamDiTVectorEnv.metadata  # type: ignore[attr-defined]


class VectorDisagreementPenalty(VectorSelfConsistencyPenalty):
    """The penalty with the info key of earlier versions."""

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start all environments, or those of a mask."""
        observations, info = super().reset(seed=seed, options=options)
        return observations, _with_old_key(info)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Give every environment its action."""
        *results, info = super().step(actions)
        observations, rewards, terminated, truncated = results
        if "final_info" in info:
            info["final_info"] = _with_old_key(info["final_info"])
        return observations, rewards, terminated, truncated, _with_old_key(info)


class DisagreementPenalty(SelfConsistencyPenalty):
    """The penalty with the info key of earlier versions."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = super().reset(seed=seed, options=options)
        return observation, _with_old_key(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action."""
        *results, info = super().step(action)
        observation, reward, terminated, truncated = results
        return observation, reward, terminated, truncated, _with_old_key(info)


def _with_old_key(info: dict[str, Any]) -> dict[str, Any]:
    new_info = dict(info)
    for prefix in ("", "_"):
        key = f"{prefix}self_consistency_error"
        if key in info:
            new_info[f"{prefix}{OLD_INFO_KEY}"] = info[key]
    return new_info


def _split(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], OldArguments]:
    """Return today's arguments, and those of earlier versions that are wrappers now."""
    current: dict[str, Any] = {}
    options: dict[str, Any] = {}
    old = OldArguments()
    for name, value in arguments.items():
        if name in BACKEND_OPTIONS:
            _warn(name, f"backend={{'{BACKEND_OPTIONS[name]}': ...}}")
            options[BACKEND_OPTIONS[name]] = value
        elif name == "pending_actions":
            _warn(name, "streamdit_gym.envs.wrappers.PendingActions (VectorPendingActions)")
            old.pending_actions = check_bool(name, value)
        elif name in PENALTIES:
            _warn(
                name,
                "streamdit_gym.envs.wrappers.SelfConsistencyPenalty (VectorSelfConsistencyPenalty)",
            )
            old.penalty = value
            old.has_old_info_key = name != PENALTIES[0]
        else:
            current[name] = value
    if options:
        current["backend"] = _joined_options(current.get("backend"), options)
    return current, old


def _joined_options(backend: Any, options: dict[str, Any]) -> Any:
    if isinstance(backend, BackendOptions):
        own = {field.name: getattr(backend, field.name) for field in fields(backend)}
        return own | options
    return {**(backend or {}), **options}


def _warn(name: str, replacement: str) -> None:
    text = f"the argument {name} will be removed in the next release; use {replacement}"
    warnings.warn(text, DeprecationWarning, stacklevel=5)  # who called make
