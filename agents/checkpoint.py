"""A checkpoint of training: one file with all that going on needs, tensors and plain values only.

One file is replaced in one move, so a run that is killed at any moment leaves a whole checkpoint,
the older or the newer. Nothing in it is run when it is read: `torch.load` with ``weights_only``,
and every value is checked.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from streamdit_gym.agents.config import MAX_STEPS, AgentTraining, check_names, training_from_json
from streamdit_gym.checks import check_bool, check_int, check_real, check_str, shown
from streamdit_gym.errors import ArgumentError, BundleError, StreamDiTError
from streamdit_gym.files import atomic_write

FORMAT = 1
CHECKPOINT = "checkpoint.pt"
COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_n_calls",
)  # of SB3's algorithms; not each has all
REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
ADAM = {"step", "exp_avg", "exp_avg_sq"}
GAP = ["step", "imagined", "real", "over", "beyond_chance"]
ENTRIES = ["format", "training", "progress", "agent", "replay_buffer"]
REMEDY = "get the folder again, or train the agent anew in another"

Curve = list[tuple[int, float]]  # steps done, and the return of the episode that ended then


@dataclass(kw_only=True)
class Progress:
    """How far training has come, besides what the agent has learned.

    Attributes:
        trained_steps: environment steps done.
        stopped: why training ended before its steps; empty: it did not.
        curve: every finished episode.
        gap: every comparison of world and twin.
    """

    trained_steps: int = 0
    stopped: str = ""
    curve: Curve = field(default_factory=list)
    gap: list[dict[str, float]] = field(default_factory=list)

    def is_done(self, steps: int) -> bool:
        """Return whether there is nothing left to do of so many steps."""
        return bool(self.stopped) or self.trained_steps >= steps


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds; the agent's part is checked when it is put into an agent."""

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
            problem = error.problem if isinstance(error, StreamDiTError) else str(error)
            raise BundleError(
                "the checkpoint does not fit the agent",
                given=f"{self.path}: {type(error).__name__} {shown(problem)}",
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
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


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
        problem = error.problem if isinstance(error, StreamDiTError) else str(error)
        raise BundleError(
            "a checkpoint cannot be read",
            given=f"{path}: {type(error).__name__} {shown(problem)}",
            allowed="what train writes",
            remedy=REMEDY,
        ) from error


def checked_curve(values: Any) -> Curve:
    """Return a learning curve from a file.

    Raises:
        ArgumentError: if it is none.
    """
    if not isinstance(values, list) or not all(
        isinstance(point, (list, tuple)) and len(point) == 2 for point in values
    ):
        raise ArgumentError(
            "this is no curve", given=shown(values), allowed="pairs of a step and a return"
        )
    return [
        (check_int("step", step, least=0, most=MAX_STEPS), check_real("return", value))
        for step, value in values
    ]


def _checked_progress(values: Any) -> Progress:
    known = check_names("entry", values, list(asdict(Progress())))
    gap = [check_names("entry", look, GAP) for look in known["gap"]]
    return Progress(
        trained_steps=check_int("trained_steps", known["trained_steps"], least=0, most=MAX_STEPS),
        stopped=check_str("stopped", known["stopped"]),
        curve=checked_curve(known["curve"]),
        gap=[{name: check_real(name, look[name]) for name in GAP} for look in gap],
    )


def _agent_state(agent: BaseAlgorithm) -> dict[str, Any]:
    states = agent.get_parameters()
    coefficient = getattr(agent, "log_ent_coef", None)  # SAC's, where it is learned
    return {
        "policy": states.pop("policy"),
        "optimizers": {name: state["state"] for name, state in states.items()},
        "log_ent_coef": None if coefficient is None else coefficient.detach(),
        "counters": {name: int(getattr(agent, name)) for name in COUNTERS if hasattr(agent, name)},
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
        shape = parameters[check_int("parameter", index, least=0, most=len(parameters) - 1)].shape
        if set(moments) != ADAM or any(moments[name].shape != shape for name in ADAM - {"step"}):
            raise ArgumentError(
                "an optimizer's moments do not fit", given=index, allowed=tuple(shape)
            )
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
    """Return what is in a replay buffer, without the part that is still empty;
    nothing is copied.
    """
    if buffer is None:
        return None
    arrays = {name: torch.from_numpy(getattr(buffer, name)[: buffer.size()]) for name in REPLAY}
    return {"position": int(buffer.pos), "full": bool(buffer.full), **arrays}


def _restore_replay(buffer: Any, saved: Any) -> None:
    if buffer is None:
        return
    full = check_bool("full", saved["full"])
    position = check_int("position", saved["position"], least=0, most=buffer.buffer_size - 1)
    size = buffer.buffer_size if full else position
    for name in REPLAY:
        place = getattr(buffer, name)[:size]
        array = saved[name].numpy()
        if array.shape != place.shape or array.dtype != place.dtype:
            raise ArgumentError(
                f"the replay buffer's {name} do not fit",
                given=f"{array.dtype} {array.shape}",
                allowed=f"{place.dtype} {place.shape}",
            )
        if array.dtype.kind == "f" and not math.isfinite(np.abs(array).max(initial=0)):
            raise ArgumentError(
                f"the replay buffer's {name} are not finite", given="NaN or infinite"
            )
        place[:] = array
    buffer.pos, buffer.full = position, full
