"""A checkpoint of an agent's training: one file of tensors and plain values.

The file is replaced in one move, so a run that is killed at any moment leaves a whole checkpoint,
the older or the newer. Reading it runs nothing: `torch.load` is called with ``weights_only``, and
every value is checked.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from streamdit_gym.agents.agent_config import (
    MAX_STEPS,
    AgentTraining,
    check_names,
    training_from_json,
)
from streamdit_gym.checks import check_bool, check_int, check_real, check_str, shown
from streamdit_gym.errors import ArgumentError, BundleError, StreamDiTError
from streamdit_gym.files import atomic_write

FORMAT = 1
CHECKPOINT = "checkpoint.pt"
# of Stable-Baselines3's algorithms; not each has all
COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_n_calls")
REPLAY_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
ADAM_STATE = {"step", "exp_avg", "exp_avg_sq"}
# of comparisons that earlier versions wrote
OLD_GAP_ENTRIES = {"imagined": "generated", "over": "excess", "beyond_chance": "exceeds"}
ENTRIES = ["format", "training", "progress", "agent", "replay_buffer"]
REMEDY = "get the folder again, or train the agent anew in another"

# environment steps done, and the return of the episode that ended then
Curve = list[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class GapCheck:
    """A comparison of the generated world with its reference simulator while an agent trains.

    Attributes:
        step: environment steps done.
        generated: mean return in the generated world.
        real: mean return in the reference simulator.
        excess: how much more the world gives, as a share of the simulator's return.
        exceeds: whether that is more than is tolerated, and than chance explains.
    """

    step: int
    generated: float
    real: float
    excess: float
    exceeds: bool


@dataclass(kw_only=True)
class Progress:
    """How far training has come, besides what the agent has learned.

    Attributes:
        trained_steps: environment steps done.
        stopped: why training ended before its steps; empty: it did not.
        curve: every finished episode.
        gap: every comparison of the generated world with its reference simulator.
    """

    trained_steps: int = 0
    stopped: str = ""
    curve: Curve = field(default_factory=list)
    gap: list[GapCheck] = field(default_factory=list)

    def is_done(self, steps: int) -> bool:
        """Return whether training is over after so many steps."""
        return bool(self.stopped) or self.trained_steps >= steps


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint file; `restore` checks the agent's part."""

    path: Path
    config: AgentTraining
    progress: Progress
    agent: Any
    replay_buffer: Any

    def restore(self, agent: BaseAlgorithm) -> None:
        """Put everything into a new agent of the same settings.

        Raises:
            BundleError: if it does not fit.
        """
        try:
            _restore_agent(agent, self.agent)
            _restore_replay(getattr(agent, "replay_buffer", None), self.replay_buffer)
        except Exception as error:  # the file may hold anything
            raise BundleError(
                "the checkpoint does not fit the agent",
                given=f"{self.path}: {_described(error)}",
                allowed="a checkpoint of the same settings and hyperparameters",
                remedy=REMEDY,
            ) from error


def write_checkpoint(
    path: Path, agent: BaseAlgorithm, config: AgentTraining, progress: Progress
) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    content = {
        "format": FORMAT,
        "training": asdict(config),
        "progress": asdict(progress),
        "agent": _agent_state(agent),
        "replay_buffer": _replay_state(getattr(agent, "replay_buffer", None)),
    }
    with atomic_write(path) as part, part.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's own, in place of the system's
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        BundleError: if it is cut, foreign or newer.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        values = check_names("entry", content, ENTRIES)
        check_int("format", values["format"], least=1, most=FORMAT)
        return Checkpoint(
            path=path,
            config=training_from_json(values["training"]),
            progress=_checked_progress(values["progress"]),
            agent=values["agent"],
            replay_buffer=values["replay_buffer"],
        )
    except Exception as error:  # the file may hold anything
        raise BundleError(
            "a checkpoint cannot be read",
            given=f"{path}: {_described(error)}",
            allowed="what train writes",
            remedy=REMEDY,
        ) from error


def checked_curve(values: Any) -> Curve:
    """Return a learning curve from a file.

    Raises:
        ArgumentError: if it is none.
    """
    if not isinstance(values, list) or not all(map(_is_pair, values)):
        allowed = "pairs of a step and a return"
        raise ArgumentError("this is no curve", given=shown(values), allowed=allowed)
    curve = []
    for step, episode_return in values:
        checked_step = check_int("step", step, least=0, most=MAX_STEPS)
        curve.append((checked_step, check_real("return", episode_return)))
    return curve


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


def _described(error: Exception) -> str:
    problem = error.problem if isinstance(error, StreamDiTError) else str(error)
    return f"{type(error).__name__} {shown(problem)}"


def _checked_progress(values: Any) -> Progress:
    entries = check_names("entry", values, list(asdict(Progress())))
    steps = check_int("trained_steps", entries["trained_steps"], least=0, most=MAX_STEPS)
    return Progress(
        trained_steps=steps,
        stopped=check_str("stopped", entries["stopped"]),
        curve=checked_curve(entries["curve"]),
        gap=[_checked_gap(comparison) for comparison in entries["gap"]],
    )


def _checked_gap(values: Any) -> GapCheck:
    names = [attribute.name for attribute in fields(GapCheck)]
    entries = check_names("entry", values, [*names, *OLD_GAP_ENTRIES])
    current = {OLD_GAP_ENTRIES.get(name, name): value for name, value in entries.items()}
    return GapCheck(
        step=check_int("step", int(current["step"]), least=0, most=MAX_STEPS),
        generated=check_real("generated", current["generated"]),
        real=check_real("real", current["real"]),
        excess=check_real("excess", current["excess"]),
        exceeds=bool(check_int("exceeds", int(current["exceeds"]), least=0, most=1)),
    )


def _agent_state(agent: BaseAlgorithm) -> dict[str, Any]:
    """Return networks, optimizer moments and counters."""
    states = agent.get_parameters()
    coefficient = getattr(agent, "log_ent_coef", None)  # SAC's, where it is learned
    counters = [name for name in COUNTERS if hasattr(agent, name)]
    return {
        "policy": states.pop("policy"),
        "optimizers": {name: state["state"] for name, state in states.items()},
        "log_ent_coef": None if coefficient is None else coefficient.detach(),
        "counters": {name: int(getattr(agent, name)) for name in counters},
        "exploration_rate": float(getattr(agent, "exploration_rate", 0.0)),
    }


def _restore_agent(agent: BaseAlgorithm, saved: dict[str, Any]) -> None:
    _check_finite(saved["policy"])
    agent.policy.load_state_dict(saved["policy"])
    if getattr(agent, "log_ent_coef", None) is not None:
        _check_finite({"log_ent_coef": saved["log_ent_coef"]})
        agent.log_ent_coef.data.copy_(saved["log_ent_coef"])  # type: ignore[attr-defined]
    states = agent.get_parameters()
    del states["policy"]
    for name in states:
        _restore_optimizer(_attribute(agent, name), saved["optimizers"][name])
    for name in COUNTERS:
        if hasattr(agent, name):
            setattr(agent, name, check_int(name, saved["counters"][name], least=0, most=MAX_STEPS))
    if hasattr(agent, "exploration_rate"):
        agent.exploration_rate = check_real(
            "exploration_rate", saved["exploration_rate"], least=0, most=1
        )


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, saved: dict[int, dict[str, Tensor]]
) -> None:
    """Put back the moments alone; rates and other settings are those of the new optimizer."""
    state = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, moments in saved.items():
        number = check_int("parameter", index, least=0, most=len(parameters) - 1)
        shape = parameters[number].shape
        shapes = {moments[name].shape for name in set(moments) - {"step"}}
        if set(moments) != ADAM_STATE or shapes != {shape}:
            allowed = tuple(shape)
            raise ArgumentError("an optimizer's moments do not fit", given=index, allowed=allowed)
        _check_finite(moments)
    optimizer.load_state_dict({**state, "state": saved})


def _attribute(agent: BaseAlgorithm, name: str) -> Any:
    """Return an attribute of an attribute, as ``policy.optimizer``."""
    value: Any = agent
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _check_finite(tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ArgumentError("a tensor is not finite", given=name, allowed="finite numbers")


def _replay_state(buffer: Any) -> dict[str, Any] | None:
    """Return the filled part of a replay buffer, without copying it."""
    if buffer is None:
        return None
    size = buffer.size()
    arrays = {name: torch.from_numpy(getattr(buffer, name)[:size]) for name in REPLAY_ARRAYS}
    return {"position": int(buffer.pos), "full": bool(buffer.full), **arrays}


def _restore_replay(buffer: Any, saved: Any) -> None:
    """Put a saved replay buffer into an empty one.

    Raises:
        ArgumentError: if it does not fit, or is not finite.
    """
    if buffer is None:
        return
    full = check_bool("full", saved["full"])
    position = check_int("position", saved["position"], least=0, most=buffer.buffer_size - 1)
    size = buffer.buffer_size if full else position
    for name in REPLAY_ARRAYS:
        target = getattr(buffer, name)[:size]
        array = saved[name].numpy()
        if array.shape != target.shape or array.dtype != target.dtype:
            raise ArgumentError(
                f"the replay buffer's {name} do not fit",
                given=f"{array.dtype} {array.shape}",
                allowed=f"{target.dtype} {target.shape}",
            )
        if array.dtype.kind == "f" and not math.isfinite(np.abs(array).max(initial=0)):
            problem = f"the replay buffer's {name} are not finite"
            raise ArgumentError(problem, given="NaN or infinite")
        target[:] = array
    buffer.pos = position
    buffer.full = full
