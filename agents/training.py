"""Training an agent on a world: any of three algorithms of Stable-Baselines3, and what a generated
world needs beside them.

Takes: an environment id.  Gives: a trained agent in a folder.  Knows nothing of: how frames are
    made.

Hyperparameters are files in RL Baselines3 Zoo's format (hyperparameters/ALGO.yml), so both read the
same ones.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env.base_vec_env import VecEnv
from stable_baselines3.common.vec_env.vec_monitor import VecMonitor
from tqdm import tqdm

import streamdit_gym
from streamdit_gym.agents.checkpoint import (
    CHECKPOINT,
    Curve,
    Progress,
    read_checkpoint,
    write_checkpoint,
)
from streamdit_gym.agents.config import ALGORITHMS, AgentTraining, Observation
from streamdit_gym.agents.features import LatentFeatures
from streamdit_gym.agents.policies import POLICY, ZIP, Learned, load_agent, save_policy
from streamdit_gym.agents.sb3_vec_env import SB3VecEnv, ScoredActions
from streamdit_gym.checks import shown
from streamdit_gym.envs.registration import IDS
from streamdit_gym.envs.wrappers import VectorSelfConsistencyPenalty
from streamdit_gym.errors import ArgumentError, StreamDiTError, UnknownNameError
from streamdit_gym.files import atomic_write, folder_lock, remove_parts, write_text, writing_to

__all__ = [
    "ALGORITHMS",
    "AgentTraining",
    "Learned",
    "Observation",
    "has_agent",
    "hyperparameters",
    "load_agent",
    "make_venv",
    "train_agent",
    "twin_of",
]
NOT_THE_ALGORITHMS = ("vec_env_wrapper", "n_envs", "n_timesteps", "policy")
MAY_CHANGE = (
    "steps",
    "check_every",
    "check_episodes",
    "tolerance",
    "patience",
)  # when training goes on
Compare = Callable[[Learned], tuple[float, float, float, float]]


def twin_of(env: str) -> str:
    """Return the id of the real simulator behind the same spaces,
    prompts and reward (a twin is its own twin).
    """
    return env if "-Real-" in env else env.replace("-v", "-Real-v")


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
    """Return environments as an agent sees them: adapter and episode statistics.

    Args:
        env: id, generated or real.
        num_envs: number of environments.
        world: a bundle other than the id's own; for a real id only the eyes are taken from it.
        observation: see `AgentTraining`.
        scored: whether actions are one number per menu entry, of which the largest counts.
        penalty: of `VectorSelfConsistencyPenalty`; None: no such wrapper.
        **settings: of the environment.

    Raises:
        UnknownNameError: if there is no such id.
    """
    streamdit_gym.register()
    if env not in gymnasium.registry:
        raise UnknownNameError("environment", env, IDS)
    own = gymnasium.spec(env).kwargs
    if world is not None:
        settings |= {"backend": {"encoder": world}} if own.get("real") else {"world": world}
    envs = gymnasium.make_vec(
        env, num_envs=num_envs, observation=observation, autoreset_mode="SAME_STEP", **settings
    )
    if penalty is not None:
        envs = VectorSelfConsistencyPenalty(envs, penalty)
    venv: VecEnv = VecMonitor(SB3VecEnv(envs))
    return ScoredActions(venv) if scored else venv


def hyperparameters(config: AgentTraining) -> dict[str, Any]:
    """Return the arguments of the algorithm's class: the file's, the overrides,
    and what the observation asks for.
    """
    text = (
        files("streamdit_gym.agents").joinpath("hyperparameters", f"{config.algo}.yml").read_text()
    )
    known = yaml.safe_load(text)[config.env]
    chosen = {key: value for key, value in known.items() if key not in NOT_THE_ALGORITHMS}
    chosen |= deepcopy(config.overrides)  # the algorithms add to what they are given
    chosen["policy"] = "CnnPolicy" if config.observation == "frame" else known["policy"]
    if config.observation == "latent":
        chosen["policy_kwargs"] = {
            **chosen.get("policy_kwargs", {}),
            "features_extractor_class": LatentFeatures,
        }
    rate = chosen.get("learning_rate")
    if isinstance(rate, str):  # lin_1e-3
        chosen["learning_rate"] = LinearSchedule(float(rate.removeprefix("lin_")), 0.0, 1.0)
    return chosen


def has_agent(folder: Path) -> bool:
    """Return whether a folder holds an agent that training must not replace unasked."""
    return (folder / CHECKPOINT).is_file() or (folder / "agent.json").is_file()


class TrainingCallback(BaseCallback):
    """Keeps the return of every finished episode, shows progress, and every so often saves all and
    compares with the twin.

    Args:
        config: how the agent is trained.
        folder: where to keep everything.
        progress: how far earlier calls have come.
        show: whether to show a bar.
        compare: compares what the world promises with what the twin gives; returns (promised,
            interval, real, interval).
    """

    def __init__(
        self,
        config: AgentTraining,
        folder: Path,
        progress: Progress,
        show: bool,
        compare: Compare | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.folder = folder
        self.progress = progress
        self.compare = compare
        self.bar = tqdm(total=config.steps, desc=config.algo.upper(), unit="step", disable=not show)
        self._next = 0

    def _on_training_start(self) -> None:
        self.bar.update(self.num_timesteps - self.bar.n)
        self._plan()

    def _on_step(self) -> bool:
        curve = self.progress.curve
        for info in self.locals["infos"]:
            if "episode" in info:
                curve.append((self.num_timesteps, float(info["episode"]["r"])))
        self.bar.update(self.num_timesteps - self.bar.n)
        if curve and self.n_calls % 20 == 0:
            recent = [value for _, value in curve[-50:]]
            mean = sum(recent) / len(recent)
            self.bar.set_postfix_str(f"return of the last {len(recent)} episodes {mean:.2f}")
        if self.config.check_every and self.num_timesteps >= self._next:
            self._plan()
            self.save()
            save_policy(
                self.folder / "checkpoints" / f"{self.num_timesteps:08d}.safetensors", self.learned
            )
            return self._compare()
        return True

    @property
    def learned(self) -> Learned:
        """The agent as it is now."""
        return Learned(agent=self.model, config=self.config)

    def save(self) -> None:
        """Write the checkpoint, in one move, and then what is there to be played and read."""
        self.progress.trained_steps = self.model.num_timesteps
        write_checkpoint(self.folder / CHECKPOINT, self.model, self.config, self.progress)
        _write_results(self.folder, self.learned, self.progress)

    def _plan(self) -> None:
        every = self.config.check_every
        self._next = (self.num_timesteps // every + 1) * every if every else 0

    def _compare(self) -> bool:
        """Compare world and twin; return whether to go on."""
        if self.compare is None:
            return True
        promised, promised_by, real, real_by = self.compare(self.learned)
        over = (promised - real) / max(1.0, abs(real))
        beyond_chance = promised - promised_by > real + real_by and over > self.config.tolerance
        gap = {"imagined": promised, "real": real, "over": over}
        self.progress.gap.append(
            {"step": self.num_timesteps, **gap, "beyond_chance": float(beyond_chance)}
        )
        for name, value in gap.items():
            self.logger.record(f"gap/{name}", value)
        self.logger.dump(self.num_timesteps)
        patience = self.config.patience
        recent = self.progress.gap[-patience:]
        if len(recent) == patience and all(look["beyond_chance"] for look in recent):
            percent = f"{100 * over:.0f} %"
            self.progress.stopped = (
                f"the world promised {percent} more than the twin gave, {patience} looks in a row"
            )
            self.bar.write(f"stopped: {self.progress.stopped}")
        return not self.progress.stopped


def train_agent(
    config: AgentTraining,
    folder: Path,
    *,
    progress: bool = True,
    resume: bool = False,
    look: Compare | None = None,
) -> tuple[Learned, Curve]:
    """Train an agent; at any moment the folder holds a whole checkpoint, or none.

    It writes ``checkpoint.pt``, from which training goes on, ``policy.safetensors`` and
    ``checkpoints/``, which can be played, ``agent.json``, ``curve.json``, ``gap.json``,
    TensorBoard's ``curves/``, and at the end ``agent.zip`` for other programs with
    Stable-Baselines3. Ctrl-C keeps what is learned.

    Args:
        config: how to train.
        folder: where to write.
        progress: whether to show a progress bar.
        resume: go on with the agent in the folder, if there is one (with new episodes: the
            environments' state is not kept).
        look: compares world and twin at every checkpoint, see `TrainingCallback`.

    Returns:
        The agent, and (step, return) of every finished episode.

    Raises:
        BundleError: if the folder's checkpoint is cut or foreign.
        BusyError: if another process works in the folder.
        StorageError: if the folder cannot be written.
        StreamDiTError: if the folder's agent was trained otherwise.
    """
    with (
        writing_to(folder, "make room, or give another folder, and go on with --resume"),
        folder_lock(folder),
    ):
        remove_parts(folder)
        remove_parts(folder / "checkpoints")
        return _train(config, folder, progress, resume, look)


def _train(
    config: AgentTraining, folder: Path, show: bool, resume: bool, compare: Compare | None
) -> tuple[Learned, Curve]:
    saved = read_checkpoint(folder / CHECKPOINT) if resume and _has_checkpoint(folder) else None
    if saved is not None:
        _check_same(saved.config, config)
    state = Progress() if saved is None else saved.progress
    done = state.is_done(config.steps)
    if done and saved is not None:
        config = saved.config
    venv = make_venv(
        config.env,
        config.num_envs,
        world=config.world,
        observation=config.observation,
        scored=config.algo == "sac",
        penalty=config.penalty,
    )
    try:
        agent = _new_agent(config, venv, folder)
        if saved is not None:
            saved.restore(agent)
        if not done:
            _learn(TrainingCallback(config, folder, state, show, compare), agent, venv)
        learned = Learned(agent=agent, config=config)
        _write_results(
            folder, learned, state
        )  # once more, if it was killed between the checkpoint and these
        _write_zip(folder / ZIP, agent)
    finally:
        venv.close()
    return learned, state.curve


def _learn(callback: TrainingCallback, agent: BaseAlgorithm, venv: VecEnv) -> None:
    config = callback.config
    done = agent.num_timesteps
    # after the agent, which seeds them too, and would let neighbouring seeds share streams
    venv.seed(config.seed * 10_007 + done)
    try:
        with callback.bar:
            agent.learn(
                config.steps - done,
                callback=callback,
                tb_log_name="run",
                reset_num_timesteps=not done,
            )
    except OSError:  # the last checkpoint stays; another could not be written either
        raise
    except BaseException:
        if agent.num_timesteps > done:
            callback.save()
        raise
    callback.save()


def _new_agent(config: AgentTraining, venv: VecEnv, folder: Path) -> BaseAlgorithm:
    log = str(folder / "curves") if find_spec("tensorboard") else None
    chosen = hyperparameters(config)
    try:
        return ALGORITHMS[config.algo](
            env=venv, seed=config.seed, device="cpu", tensorboard_log=log, **chosen
        )
    except (AssertionError, TypeError, ValueError, MemoryError) as error:
        raise ArgumentError(
            f"{config.algo} does not take these hyperparameters",
            given=f"{shown(config.overrides)}: {shown(str(error))}",
            allowed="those of agents/hyperparameters, and what goes with them",
            remedy="change --set",
        ) from error


def _has_checkpoint(folder: Path) -> bool:
    """Return whether there is a checkpoint.

    Raises:
        StreamDiTError: if there is an agent without one.
    """
    if (folder / CHECKPOINT).is_file():
        return True
    if has_agent(folder):
        raise StreamDiTError(
            "no checkpoint to go on from",
            given=folder,
            allowed=f"a folder with {CHECKPOINT}",
            remedy="train anew in another folder; agents of older versions can be played with --trust-agents",
        )
    return False


def _check_same(before: AgentTraining, now: AgentTraining) -> None:
    for name, value in asdict(now).items():
        old = getattr(before, name)
        if name not in MAY_CHANGE and value != old:
            raise StreamDiTError(
                f"the agent here was trained with another {name}",
                given=value,
                allowed=old,
                remedy="leave it as it was, or give another folder",
            )


def _write_results(folder: Path, learned: Learned, state: Progress) -> None:
    """Write what is there to be played and read; each file whole,
    and made again from the checkpoint by ``--resume``.
    """
    save_policy(folder / POLICY, learned)
    about = {
        **asdict(learned.config),
        "trained_steps": state.trained_steps,
        "stopped": state.stopped,
    }
    for name, content in (("agent", about), ("curve", state.curve), ("gap", state.gap)):
        write_text(folder / f"{name}.json", json.dumps(content, indent=1))


def _write_zip(path: Path, agent: BaseAlgorithm) -> None:
    """Write Stable-Baselines3's own format; it is for others, we do not read it."""
    content = io.BytesIO()
    agent.save(content)
    with atomic_write(path) as part:
        part.write_bytes(content.getvalue())
