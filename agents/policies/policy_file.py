"""Trained policies as data: one file of tensors, which says in plain JSON what they are.

Stable-Baselines3's own files (``agent.zip``) are pickles, that is, programs. A policy file is none:
its settings are checked, the networks are built from them by our own code, and the tensors must
fit. So anybody's file can be loaded safely.
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

from streamdit_gym.actions import SpokenBox
from streamdit_gym.agents.agent_config import (
    ALGORITHMS,
    CONTINUOUS_ALGORITHMS,
    NETWORK_KWARGS,
    AgentTraining,
    check_names,
    check_policy_kwargs,
    training_from_json,
)
from streamdit_gym.agents.env_worlds import env_spec
from streamdit_gym.agents.features import LatentFeatures
from streamdit_gym.checks import check_int, check_real, shown
from streamdit_gym.errors import ArgumentError, BundleError, ShapeError, StreamDiTError
from streamdit_gym.files import atomic_write

FORMAT = 1
POLICY = "policy.safetensors"
ZIP = "agent.zip"
MAX_BYTES = 2**31
MAX_FRAME_EDGE = 512
MAX_NUMBERS = 2**16  # in one observation that is no frame
MAX_ACTIONS = 4096
HEADER_ENTRIES = [
    "format",
    "training",
    "policy_kwargs",
    "observation_shape",
    "num_actions",
    "exploration_rate",
]
BOUNDS = "action_bounds"  # an entry of agents that act in a world's box: low and high ends
REMEDY = "get the file again, or train the agent anew"


@dataclass(frozen=True, kw_only=True)
class LoadedPolicy:
    """The networks of a policy file; it is called like an algorithm of Stable-Baselines3.

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
        """The space of its actions."""
        return self.policy.action_space

    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return an action for every observation, and `state` as it was.

        Raises:
            ShapeError: if the policy was trained on other observations.
        """
        explores = self.exploration_rate and not deterministic
        if explores and np.random.rand() < self.exploration_rate:
            return np.array([self.action_space.sample() for _ in observation]), state
        try:
            return self.policy.predict(observation, state, episode_start, deterministic)
        except ValueError as error:
            shape = ", ".join(map(str, self.policy.observation_space.shape or ()))
            raise ShapeError(
                "the agent was trained on other observations",
                given=np.shape(observation),
                allowed=f"(n, {shape})",
                remedy="use it in the world that it was trained in",
            ) from error


@dataclass(frozen=True, kw_only=True)
class TrainedAgent:
    """A trained agent and how it was trained, which says what it must be shown.

    Attributes:
        agent: the networks.
        config: how they were trained.
        acts_in_box: whether it gives values of the world's box; else menu actions, or a score for
            each of them.
    """

    agent: BaseAlgorithm | LoadedPolicy
    config: AgentTraining
    acts_in_box: bool = False


def is_box(config: AgentTraining, agent: BaseAlgorithm) -> bool:
    """Return whether an agent's actions are values of its world's box."""
    has_box = isinstance(agent.action_space, spaces.Box)
    return has_box and isinstance(env_spec(config.env, config.world).actions, SpokenBox)


def save_policy(path: Path, trained: TrainedAgent) -> None:
    """Write an agent's policy, whole or not at all."""
    network: Any = trained.agent.policy
    kwargs = trained.agent.policy_kwargs
    header = {
        "format": FORMAT,
        "training": asdict(trained.config),
        "policy_kwargs": {name: kwargs[name] for name in NETWORK_KWARGS if name in kwargs},
        "observation_shape": list(network.observation_space.shape),
        "num_actions": spaces.flatdim(network.action_space),
        "exploration_rate": getattr(trained.agent, "exploration_rate", 0.0),
    }
    if trained.acts_in_box:
        box = network.action_space
        header[BOUNDS] = [box.low.tolist(), box.high.tolist()]
    # parameters and not the state_dict, which names a shared features extractor several times
    tensors = {}
    for name, parameter in network.named_parameters():
        tensors[name] = parameter.detach().cpu().contiguous()
    with atomic_write(path) as part:
        part.write_bytes(save(tensors, metadata={"policy": json.dumps(header)}))


def load_agent(place: Path, *, trust_agents: bool = False) -> TrainedAgent:
    """Load a trained agent: a folder that `train_agent` wrote, or a file of its ``checkpoints/``.

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
            remedy="train one: streamdit-gym rl train --out FOLDER",
        )
    if file.suffix == ".safetensors":
        return load_policy_file(file)
    if not trust_agents:
        raise BundleError(
            "an agent in Stable-Baselines3's own format is code, and code is not run unasked",
            given=file,
            allowed=f"a folder with {POLICY}, or a .safetensors file of its checkpoints/",
            remedy="train it anew; or, if you trust whoever made it: --trust-agents of generate,"
            " evaluate and rl evaluate (in Python trust_agents=True)",
        )
    return _run_zip(file)


def load_policy_file(path: Path) -> TrainedAgent:
    """Load a policy file.

    Raises:
        BundleError: if it is missing, cut, foreign or newer, or its tensors do not fit its header.
    """
    header, tensors = _read(path)
    try:
        return _agent_from(header, tensors)
    except StreamDiTError as error:
        raise BundleError(
            "a policy file cannot be used",
            given=f"{path}: {error.problem} (given {error.given}, allowed {error.allowed})",
            remedy=REMEDY,
        ) from error


def _read(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """Return a policy file's header, still unchecked, and its tensors."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata["policy"])
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, KeyError, RecursionError, SafetensorError) as error:
        raise BundleError(
            "a policy file cannot be read",
            given=f"{path}: {type(error).__name__} {shown(str(error))}",
            allowed="what train writes",
            remedy=REMEDY,
        ) from error
    return header, tensors


def _agent_from(header: Any, tensors: dict[str, Tensor]) -> TrainedAgent:
    values = check_names("entry", header, [*HEADER_ENTRIES, BOUNDS])
    missing = sorted(set(HEADER_ENTRIES) - set(values))
    if missing:
        given = ", ".join(missing)
        raise ArgumentError("entries are missing", given=given, allowed=", ".join(HEADER_ENTRIES))
    check_int("format", values["format"], least=1, most=FORMAT)
    config = training_from_json(values["training"])
    kwargs = check_policy_kwargs("policy_kwargs", values["policy_kwargs"])
    rate = check_real("exploration_rate", values["exploration_rate"], least=0, most=1)
    observation_space = _observation_space(config, values["observation_shape"])
    num_actions = check_int("num_actions", values["num_actions"], least=1, most=MAX_ACTIONS)
    box = _box(values[BOUNDS], num_actions) if BOUNDS in values else None
    action_space = box or _action_space(config.algo, num_actions)
    policy = _build(config, kwargs, observation_space, action_space)
    _fill(policy, tensors)
    if kwargs.get("use_sde"):
        policy.reset_noise()  # type: ignore[operator]
    loaded = LoadedPolicy(policy=policy, exploration_rate=rate, policy_kwargs=kwargs)
    return TrainedAgent(agent=loaded, config=config, acts_in_box=box is not None)


def _action_space(algo: str, num_actions: int) -> spaces.Space[Any]:
    """Return the space of menu actions, or that of a score for each of them."""
    if algo in CONTINUOUS_ALGORITHMS:
        return spaces.Box(-1.0, 1.0, (num_actions,), np.float32)
    return spaces.Discrete(num_actions)


def _box(bounds: Any, num_actions: int) -> spaces.Box:
    """Return the space of a world's box, of bounds that a file gives.

    Raises:
        ArgumentError: if they are no finite ends, each low one below its high one.
    """
    is_pair = isinstance(bounds, list) and len(bounds) == 2
    if not is_pair or any(
        not isinstance(ends, list) or len(ends) != num_actions for ends in bounds
    ):
        allowed = f"{num_actions} low ends and as many high ones"
        raise ArgumentError(f"{BOUNDS} cannot be used", given=shown(bounds), allowed=allowed)
    low, high = ([check_real(BOUNDS, end) for end in ends] for ends in bounds)
    for low_end, high_end in zip(low, high, strict=True):
        check_real(BOUNDS, high_end, above=low_end)
    return spaces.Box(np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32)


def _observation_space(config: AgentTraining, shape: Any) -> spaces.Box:
    """Return the space of observations of a shape that a file gives.

    Raises:
        ArgumentError: if no world has observations of this shape.
    """
    problem = "observation_shape cannot be used"
    num_axes = 1 if config.observation == "state" else 3
    if not isinstance(shape, list) or len(shape) != num_axes:
        raise ArgumentError(problem, given=shown(shape), allowed=f"{num_axes} numbers")
    edges = tuple(check_int("observation_shape", edge, least=1, most=MAX_NUMBERS) for edge in shape)
    if config.observation == "frame":
        channels = 3 * config.frame_stack
        if edges[0] != channels or max(edges[1:]) > MAX_FRAME_EDGE:
            allowed = f"{channels}, then up to {MAX_FRAME_EDGE}"
            raise ArgumentError(problem, given=edges, allowed=allowed)
        return spaces.Box(0, 255, edges, np.uint8)
    if np.prod(edges, dtype=object) > MAX_NUMBERS:
        raise ArgumentError(problem, given=edges, allowed=f"up to {MAX_NUMBERS} numbers")
    return spaces.Box(-np.inf, np.inf, edges, np.float32)


def _build(
    config: AgentTraining,
    kwargs: dict[str, Any],
    observation_space: spaces.Box,
    action_space: spaces.Space[Any],
) -> BasePolicy:
    """Build networks; which classes they are of, our own code alone says."""
    aliases = ALGORITHMS[config.algo].policy_aliases
    policy_class: Any = aliases["CnnPolicy" if config.observation == "frame" else "MlpPolicy"]
    arguments = dict(kwargs)
    if config.observation == "latent":
        arguments["features_extractor_class"] = LatentFeatures
    if config.algo == "ppo":
        arguments["ortho_init"] = False  # slow, and every weight is replaced
    try:
        with torch.random.fork_rng(devices=[]):  # loading draws nothing from the caller's generator
            policy: BasePolicy = policy_class(
                observation_space, action_space, lambda _: 0.0, **arguments
            )
    except (TypeError, ValueError, AssertionError, RuntimeError, KeyError, MemoryError) as error:
        raise ArgumentError(
            "no networks can be built from these policy_kwargs",
            given=f"{shown(kwargs)}: {shown(str(error))}",
            allowed=f"what {config.algo} takes",
        ) from error
    policy.set_training_mode(False)
    return policy


def _fill(policy: BasePolicy, tensors: dict[str, Tensor]) -> None:
    """Put a file's tensors into the networks.

    Raises:
        ArgumentError: if names or shapes do not fit, or a tensor is not finite float32.
    """
    expected = {name: tuple(parameter.shape) for name, parameter in policy.named_parameters()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    names = {*shapes, *expected}
    wrong = sorted(name for name in names if shapes.get(name) != expected.get(name))
    if wrong:
        raise ArgumentError(
            f"{len(wrong)} tensors do not fit",
            given=f"{shown(wrong[0])} {shapes.get(wrong[0])}",
            allowed=expected.get(wrong[0]),
        )
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            given = f"{name} {tensor.dtype}"
            raise ArgumentError("a tensor cannot be used", given=given, allowed="finite float32")
    # not strict: a shared extractor's other names are not in the file
    policy.load_state_dict(tensors, strict=False)


def _run_zip(file: Path) -> TrainedAgent:
    """Load Stable-Baselines3's own format, which runs what is in it; the one place that does."""
    folder = file.parent if (file.parent / "agent.json").is_file() else file.parent.parent
    try:
        settings = json.loads((folder / "agent.json").read_text())
        for name in ("trained_steps", "stopped"):
            settings.pop(name, None)
        config = training_from_json(settings)
        agent = ALGORITHMS[config.algo].load(file, device="cpu")
    except Exception as error:  # whatever a foreign program raises
        raise BundleError(
            "an agent cannot be loaded",
            given=f"{file}: {shown(str(error))}",
            allowed="agent.zip with agent.json beside it, or a .zip of the checkpoints/ there",
            remedy="get the folder again, or train the agent anew",
        ) from error
    return TrainedAgent(agent=agent, config=config, acts_in_box=is_box(config, agent))
