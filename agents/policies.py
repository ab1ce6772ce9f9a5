"""Trained policies as data: one file of tensors, which says in plain JSON what they are.

Stable-Baselines3's own files (``agent.zip``) are pickles, that is, programs. A policy file is none:
its settings are checked, the networks are built from them by our own code, and the tensors must
fit. So it can be played wherever it comes from.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from streamdit_gym.agents.config import (
    ALGORITHMS,
    NETWORK_KWARGS,
    AgentTraining,
    check_names,
    check_policy_kwargs,
    training_from_json,
)
from streamdit_gym.agents.features import LatentFeatures
from streamdit_gym.checks import check_int, check_real, shown
from streamdit_gym.errors import ArgumentError, BundleError, ShapeError, StreamDiTError
from streamdit_gym.files import atomic_write

FORMAT = 1
POLICY = "policy.safetensors"
ZIP = "agent.zip"
MAX_BYTES = 2**31
MAX_EDGE = 512  # of a picture that an agent sees
MAX_NUMBERS = 2**16  # in one observation that is no picture
MAX_ACTIONS = 4096
ENTRIES = [
    "format",
    "training",
    "policy_kwargs",
    "observation_shape",
    "num_actions",
    "exploration_rate",
]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy to play with; it is called like an algorithm of Stable-Baselines3.

    Attributes:
        policy: the networks.
        exploration_rate: share of calls that act at random unless asked to be deterministic (DQN).
        policy_kwargs: what the networks were built from.
    """

    policy: BasePolicy
    exploration_rate: float
    policy_kwargs: dict[str, Any]

    @property
    def action_space(self) -> spaces.Space[Any]:
        """What it may do."""
        return self.policy.action_space

    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return an action for each of some observations, and the state as it was.

        Raises:
            ShapeError: if the policy was trained on other observations.
        """
        if self.exploration_rate and not deterministic and np.random.rand() < self.exploration_rate:
            return np.array([self.action_space.sample() for _ in observation]), state
        try:
            return self.policy.predict(observation, state, episode_start, deterministic)
        except ValueError as error:
            raise ShapeError(
                "the agent was trained on other observations",
                given=np.shape(observation),
                allowed=f"(n, {', '.join(map(str, self.policy.observation_space.shape or ()))})",
                remedy="play it in the world that it was trained in",
            ) from error


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A trained agent and how it was trained, which says what it must be shown."""

    agent: BaseAlgorithm | Policy
    config: AgentTraining


def save_policy(path: Path, learned: Learned) -> None:
    """Write an agent's policy, whole or not at all."""
    network: Any = learned.agent.policy
    kwargs = learned.agent.policy_kwargs
    about = {
        "format": FORMAT,
        "training": asdict(learned.config),
        "policy_kwargs": {name: kwargs[name] for name in NETWORK_KWARGS if name in kwargs},
        "observation_shape": list(network.observation_space.shape),
        "num_actions": spaces.flatdim(network.action_space),
        "exploration_rate": getattr(learned.agent, "exploration_rate", 0.0),
    }
    # the parameters and not the state_dict, which names a shared features extractor several times
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.named_parameters()
    }
    with atomic_write(path) as part:
        part.write_bytes(save(tensors, metadata={"policy": json.dumps(about)}))


def load_agent(place: Path, *, trust_agents: bool = False) -> Learned:
    """Load an agent to play with: a folder that `train_agent` wrote, or one of the files in its
    ``checkpoints/``.

    Args:
        place: the folder or file.
        trust_agents: also load ``agent.zip``, Stable-Baselines3's own format. It is a program: it
            can do whatever you can.

    Raises:
        BundleError: if there is none, it is not whole, or it is code and not trusted.
    """
    file = place
    if place.is_dir():
        file = place / POLICY if (place / POLICY).is_file() else place / ZIP
    if not file.is_file() or file.suffix not in (".safetensors", ".zip"):
        raise BundleError(
            "no agent here",
            given=place,
            allowed=f"a folder with {POLICY}, or a file of its checkpoints/",
            remedy="train one: python -m streamdit_gym.agents.train --out FOLDER",
        )
    if file.suffix == ".safetensors":
        return load_policy(file)
    if not trust_agents:
        raise BundleError(
            "an agent in Stable-Baselines3's own format is code, and code is not run unasked",
            given=file,
            allowed=f"a folder with {POLICY}, or a .safetensors file of its checkpoints/",
            remedy="train it anew; or, if you trust whoever made it: --trust-agents (in Python trust_agents=True)",
        )
    return _run_zip(file)


def load_policy(path: Path) -> Learned:
    """Load a policy file.

    Raises:
        BundleError: if it is missing, cut, foreign or newer, or its tensors do not fit what it says
            of itself.
    """
    about, tensors = _read(path)
    try:
        return _policy_from(about, tensors)
    except StreamDiTError as error:
        raise BundleError(
            "a policy file cannot be used",
            given=f"{path}: {error.problem} (given {error.given}, allowed {error.allowed})",
            remedy="get the file again, or train the agent anew",
        ) from error


def _read(path: Path) -> tuple[Any, dict[str, Tensor]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["policy"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    except (OSError, ValueError, KeyError, RecursionError, SafetensorError) as error:
        raise BundleError(
            "a policy file cannot be read",
            given=f"{path}: {type(error).__name__} {shown(str(error))}",
            allowed="what train writes",
            remedy="get the file again, or train the agent anew",
        ) from error
    return about, tensors


def _policy_from(about: Any, tensors: dict[str, Tensor]) -> Learned:
    values = check_names("entry", about, ENTRIES)
    if missing := sorted(set(ENTRIES) - set(values)):
        raise ArgumentError(
            "entries are missing", given=", ".join(missing), allowed=", ".join(ENTRIES)
        )
    check_int("format", values["format"], least=1, most=FORMAT)
    config = training_from_json(values["training"])
    kwargs = check_policy_kwargs("policy_kwargs", values["policy_kwargs"])
    rate = check_real("exploration_rate", values["exploration_rate"], least=0, most=1)
    observed = _observation_space(config.observation, values["observation_shape"])
    count = check_int("num_actions", values["num_actions"], least=1, most=MAX_ACTIONS)
    policy = _build(config, kwargs, observed, count)
    _fill(policy, tensors)
    if kwargs.get("use_sde"):
        policy.reset_noise()  # type: ignore[operator]
    return Learned(
        agent=Policy(policy=policy, exploration_rate=rate, policy_kwargs=kwargs), config=config
    )


def _observation_space(observation: str, shape: Any) -> spaces.Box:
    axes = 1 if observation == "state" else 3
    if not isinstance(shape, list) or len(shape) != axes:
        raise ArgumentError(
            "observation_shape cannot be used", given=shown(shape), allowed=f"{axes} numbers"
        )
    edges = tuple(check_int("observation_shape", edge, least=1, most=MAX_NUMBERS) for edge in shape)
    if observation == "frame":
        if edges[0] != 3 or max(edges[1:]) > MAX_EDGE:
            raise ArgumentError(
                "observation_shape cannot be used", given=edges, allowed=f"3, then up to {MAX_EDGE}"
            )
        return spaces.Box(0, 255, edges, np.uint8)
    if np.prod(edges, dtype=object) > MAX_NUMBERS:
        raise ArgumentError(
            "observation_shape cannot be used", given=edges, allowed=f"up to {MAX_NUMBERS} numbers"
        )
    return spaces.Box(-np.inf, np.inf, edges, np.float32)


def _build(
    config: AgentTraining, kwargs: dict[str, Any], observed: spaces.Box, count: int
) -> BasePolicy:
    """Build networks; which classes they are of, our own code alone says."""
    kind: Any = ALGORITHMS[config.algo].policy_aliases[
        "CnnPolicy" if config.observation == "frame" else "MlpPolicy"
    ]
    actions: spaces.Space[Any] = spaces.Discrete(count)
    if config.algo == "sac":
        actions = spaces.Box(-1.0, 1.0, (count,), np.float32)
    chosen = dict(kwargs)
    if config.observation == "latent":
        chosen["features_extractor_class"] = LatentFeatures
    if config.algo == "ppo":
        chosen["ortho_init"] = False  # slow, and every weight is replaced
    try:
        with torch.random.fork_rng(devices=[]):  # loading draws nothing
            policy: BasePolicy = kind(observed, actions, lambda _: 0.0, **chosen)
    except (TypeError, ValueError, AssertionError, RuntimeError, KeyError, MemoryError) as error:
        raise ArgumentError(
            "no networks can be built from these policy_kwargs",
            given=f"{shown(kwargs)}: {shown(str(error))}",
            allowed=f"what {config.algo} takes",
        ) from error
    policy.set_training_mode(False)
    return policy


def _fill(policy: BasePolicy, tensors: dict[str, Tensor]) -> None:
    wanted = {name: tuple(parameter.shape) for name, parameter in policy.named_parameters()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if given != wanted:
        wrong = sorted(name for name in {*given, *wanted} if given.get(name) != wanted.get(name))
        name = wrong[0]
        raise ArgumentError(
            f"{len(wrong)} tensors do not fit",
            given=f"{shown(name)} {given.get(name)}",
            allowed=wanted.get(name),
        )
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise ArgumentError(
                "a tensor cannot be used", given=f"{name} {tensor.dtype}", allowed="finite float32"
            )
    policy.load_state_dict(
        tensors, strict=False
    )  # a shared extractor's other names are not in the file


def _run_zip(file: Path) -> Learned:
    """Load Stable-Baselines3's own format, which runs what is in it; the one place that does."""
    folder = file.parent if (file.parent / "agent.json").is_file() else file.parent.parent
    try:
        about = json.loads((folder / "agent.json").read_text())
        values = {
            name: value for name, value in about.items() if name not in ("trained_steps", "stopped")
        }
        config = training_from_json(values)
        agent = ALGORITHMS[config.algo].load(file, device="cpu")
    except Exception as error:  # whatever a foreign program raises
        raise BundleError(
            "an agent cannot be loaded",
            given=f"{file}: {shown(str(error))}",
            allowed="agent.zip with agent.json beside it, or a .zip of the checkpoints/ there",
            remedy="get the folder again, or train the agent anew",
        ) from error
    return Learned(agent=agent, config=config)
