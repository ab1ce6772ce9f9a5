"""How an agent is trained: settings and hyperparameters, checked wherever they come from.

A run's folder may have been downloaded, so its files go through the same checks as a command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, get_args

from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

from streamdit_gym.agents.hyperparameter_files import PLAIN_WORLD, usual_world
from streamdit_gym.agents.policies.policy import Observation
from streamdit_gym.checks import check_bool, check_choice, check_int, check_real, check_str, shown
from streamdit_gym.envs.registration import ANY_WORLD_ID, IDS
from streamdit_gym.errors import ArgumentError, UnknownNameError

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "dqn": DQN, "sac": SAC, "td3": TD3}
# these act in numbers: in a world's box, or by a score for every action of a menu
CONTINUOUS_ALGORITHMS = ("sac", "td3")

MAX_STEPS = 10**12
MAX_FRAME_STACK = 16
MAX_LAYERS = 8
MAX_WIDTH = 2048

USUAL: Any = None  # of a setting: as the file of hyperparameters says

Check = Callable[[str, Any], Any]  # name and value to the value, or an ArgumentError


@dataclass(frozen=True, kw_only=True)
class AgentTraining:
    """How an agent is trained.

    Attributes:
        env: id of the environment.
        algo: ``"ppo"``, ``"dqn"`` (menus alone), ``"sac"`` or ``"td3"``.
        world: a bundle other than the id's own.
        observation: what the agent observes: ``"state"``, the world's readout of a frame;
            ``"latent"``, the world's latents; ``"frame"``, pixels. None: as the file of
            hyperparameters says, else ``"state"``.
        frame_stack: how many of the newest observations it gets at once; one shows no speed. None:
            as many as the file of hyperparameters says, else one.
        reward_scale: what rewards are multiplied by while it learns. None: as the file of
            hyperparameters says, else 1.
        steps: environment steps in all.
        num_envs: environments in one batch.
        seed: of policy and environments.
        penalty: how much of the world's self-consistency error is taken off the reward, see
            `VectorSelfConsistencyPenalty`; None: it is not measured.
        check_every: steps between checkpoints, and between comparisons of the generated world with
            its reference simulator; 0: neither.
        check_episodes: episodes in both at each comparison; 0: no comparisons.
        tolerance: how much more than the simulator the world may give before training stops, as a
            share of the simulator's return (of 1 at least).
        patience: comparisons in a row at which it gives more, beyond what chance explains, before
            training stops.
        overrides: hyperparameters other than the file's, see `HYPERPARAMETERS`.

    Raises:
        ArgumentError: if a value is of the wrong type, not finite, or out of range.
        UnknownNameError: if there is no such environment, algorithm, observation or hyperparameter.
    """

    env: str = "StreamDiT/PushT-Reach-v0"
    algo: str = "ppo"
    world: str | None = None
    observation: Observation = USUAL
    frame_stack: int = USUAL
    reward_scale: float = USUAL
    steps: int = 12_000
    num_envs: int = 16
    seed: int = 0
    penalty: float | None = None
    check_every: int = 0
    check_episodes: int = 0
    tolerance: float = 0.15
    patience: int = 3
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        object.__setattr__(self, "overrides", check_overrides(self.algo, self.overrides))
        for name, value in usual_world(self.algo, self.env).items():
            if getattr(self, name) is USUAL:
                object.__setattr__(self, name, value)


def training_from_json(values: Any) -> AgentTraining:
    """Return the settings that a file holds.

    Raises:
        ArgumentError: if they are no settings, or a value is refused.
        UnknownNameError: if a name is unknown.
    """
    known = [attribute.name for attribute in fields(AgentTraining)]
    settings = check_names("setting", values, known)
    # files of earlier versions lack some; what is usual today may be something else
    return AgentTraining(**{**PLAIN_WORLD, **settings})


def check_names(kind: str, values: Any, allowed: list[str]) -> dict[str, Any]:
    """Return a dictionary all of whose keys are allowed.

    Raises:
        ArgumentError: if it is no dictionary of texts.
        UnknownNameError: if there is a key that is not allowed.
    """
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ArgumentError(
            f"this names no {kind}",
            given=shown(values),
            allowed="names with values",
            remedy="as in {name: value}",
        )
    for name in values:
        if name not in allowed:
            raise UnknownNameError(kind, name, allowed)
    return values


def check_overrides(algo: str, values: Any) -> dict[str, Any]:
    """Return hyperparameters of an algorithm, as plain values.

    Raises:
        ArgumentError: if a value is refused.
        UnknownNameError: if the algorithm knows no such hyperparameter.
    """
    known = HYPERPARAMETERS[algo]
    checked = check_names("hyperparameter", values, list(known))
    return {name: known[name](name, value) for name, value in checked.items()}


def check_policy_kwargs(name: str, value: Any) -> dict[str, Any]:
    """Return the arguments of a policy's class that are plain values.

    Raises:
        ArgumentError: if a value is refused.
        UnknownNameError: if there is no such argument.
    """
    arguments = check_names(f"argument in {name}", value, list(POLICY_KWARGS))
    return {key: POLICY_KWARGS[key](key, argument) for key, argument in arguments.items()}


def _check_net_arch(name: str, value: Any) -> list[int] | dict[str, list[int]]:
    """Return the widths of the layers: of all networks, or of each (``pi``, ``vf``, ``qf``)."""
    if isinstance(value, dict):
        networks = check_names(f"network in {name}", value, ["pi", "vf", "qf"])
        return {key: _check_widths(name, widths) for key, widths in networks.items()}
    return _check_widths(name, value)


def _check_widths(name: str, value: Any) -> list[int]:
    if not isinstance(value, (list, tuple)) or len(value) > MAX_LAYERS:
        raise ArgumentError(
            f"{name} cannot be used",
            given=shown(value),
            allowed=f"up to {MAX_LAYERS} widths of layers",
            remedy="as in net_arch: [64, 64]",
        )
    return [check_int(name, width, least=1, most=MAX_WIDTH) for width in value]


def _check_extractor(name: str, value: Any) -> dict[str, int]:
    arguments = check_names(f"argument in {name}", value, ["features_dim"])
    return {key: check_int(key, width, least=1, most=MAX_WIDTH) for key, width in arguments.items()}


def _check_optimizer(name: str, value: Any) -> dict[str, float]:
    arguments = check_names(f"argument in {name}", value, ["eps", "weight_decay"])
    return {key: check_real(key, number, least=0, most=1) for key, number in arguments.items()}


def _check_rate(name: str, value: Any) -> float | str:
    """Return a learning rate: a number, or ``lin_`` and a number that falls to 0 with the steps."""
    if isinstance(value, str) and value.startswith("lin_"):
        check_real(name, _number(value.removeprefix("lin_")), above=0, most=10)
        return value
    return check_real(name, value, above=0, most=10)


def _check_entropy(name: str, value: Any) -> float | str:
    """Return SAC's entropy coefficient: a number, ``auto``, or ``auto_0.1``, which begins there."""
    if value == "auto":
        return "auto"
    if isinstance(value, str) and value.startswith("auto_"):
        check_real(name, _number(value.removeprefix("auto_")), above=0, most=1e6)
        return value
    return check_real(name, value, least=0, most=1e6)


def _number(text: str) -> Any:
    """Return a text as a number, or as it is, which the next check refuses."""
    try:
        return float(text)
    except ValueError:
        return text


def _auto_or_real(name: str, value: Any) -> float | str:
    return "auto" if value == "auto" else check_real(name, value, least=-1e6, most=1e6)


def _optional(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _check_env(name: str, value: Any) -> str:
    return check_choice(name, value, [*IDS, ANY_WORLD_ID])


def _count(least: int, most: int) -> Check:
    return partial(check_int, least=least, most=most)


_share: Check = partial(check_real, least=0, most=1)
_weight: Check = partial(check_real, least=0, most=1e6)
_positive: Check = partial(check_real, above=0, most=1e6)

CHECKS: dict[str, Check] = {
    "env": _check_env,
    "algo": partial(check_choice, allowed=ALGORITHMS),
    "world": _optional(check_str),
    "observation": _optional(partial(check_choice, allowed=get_args(Observation))),
    "frame_stack": _optional(_count(1, MAX_FRAME_STACK)),
    "reward_scale": _optional(_positive),
    "steps": _count(1, MAX_STEPS),
    "num_envs": _count(1, 2**16),
    "seed": _count(0, 2**31 - 1),
    "penalty": _optional(_weight),
    "check_every": _count(0, MAX_STEPS),
    "check_episodes": _count(0, 10**6),
    "tolerance": _weight,
    "patience": _count(1, 10**6),
}
# what a policy's networks are built from
NETWORK_KWARGS: dict[str, Check] = {
    "net_arch": _check_net_arch,
    "normalize_images": check_bool,
    "share_features_extractor": check_bool,
    "features_extractor_kwargs": _check_extractor,
    "n_critics": _count(1, 4),
    "use_sde": check_bool,
}
POLICY_KWARGS: dict[str, Check] = {
    **NETWORK_KWARGS,
    "ortho_init": check_bool,
    "log_std_init": partial(check_real, least=-20, most=20),
    "optimizer_kwargs": _check_optimizer,
}
_COMMON: dict[str, Check] = {
    "learning_rate": _check_rate,
    "batch_size": _count(1, 2**20),
    "gamma": _share,
    "n_steps": _count(1, 2**20),
    "stats_window_size": _count(1, 10**6),
    "verbose": _count(0, 2),
    "policy_kwargs": check_policy_kwargs,
}
_OFF_POLICY: dict[str, Check] = {
    **_COMMON,
    "buffer_size": _count(1, 10**7),
    "learning_starts": _count(0, MAX_STEPS),
    "tau": _share,
    "train_freq": _count(1, 10**6),
    "gradient_steps": _count(-1, 10**6),
    "target_update_interval": _count(1, MAX_STEPS),
}
HYPERPARAMETERS: dict[str, dict[str, Check]] = {
    "ppo": {
        **_COMMON,
        "n_epochs": _count(1, 1000),
        "gae_lambda": _share,
        "clip_range": _positive,
        "clip_range_vf": _optional(_positive),
        "normalize_advantage": check_bool,
        "ent_coef": _weight,
        "vf_coef": _weight,
        "max_grad_norm": _positive,
        "target_kl": _optional(_positive),
    },
    "dqn": {
        **_OFF_POLICY,
        "exploration_fraction": partial(check_real, above=0, most=1),
        "exploration_initial_eps": _share,
        "exploration_final_eps": _share,
        "max_grad_norm": _positive,
    },
    "td3": {
        **_OFF_POLICY,
        "policy_delay": _count(1, 1000),
        "target_policy_noise": _weight,
        "target_noise_clip": _weight,
    },
    "sac": {
        **_OFF_POLICY,
        "ent_coef": _check_entropy,
        "target_entropy": _auto_or_real,
        "use_sde": check_bool,
        "sde_sample_freq": _count(-1, 10**6),
        "use_sde_at_warmup": check_bool,
    },
}
