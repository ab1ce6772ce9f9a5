"""Training an agent in a world, with Stable-Baselines3."""

from __future__ import annotations

import io
from copy import deepcopy
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from streamdit_gym.agents.agent_checkpoint import (
    CHECKPOINT,
    Checkpoint,
    Curve,
    Progress,
    read_checkpoint,
)
from streamdit_gym.agents.agent_config import (
    ALGORITHMS,
    CONTINUOUS_ALGORITHMS,
    AgentTraining,
)
from streamdit_gym.agents.agent_envs import make_venv
from streamdit_gym.agents.features import LatentFeatures
from streamdit_gym.agents.hyperparameter_files import zoo_entries
from streamdit_gym.agents.policies.policy_file import ZIP, TrainedAgent, is_box
from streamdit_gym.agents.training_callback import Compare, TrainingCallback, write_results
from streamdit_gym.checks import shown
from streamdit_gym.errors import ArgumentError, StreamDiTError
from streamdit_gym.files import atomic_write, folder_lock, remove_parts, writing_to

# the Zoo's own entries in a file of hyperparameters
NOT_THE_ALGORITHMS = ("vec_env_wrapper", "n_envs", "n_timesteps", "policy")
# settings that may be others when training goes on
MAY_CHANGE = ("steps", "check_every", "check_episodes", "tolerance", "patience")
# neighbouring seeds must not share streams of random numbers
SEED_STRIDE = 10_007


def hyperparameters(config: AgentTraining) -> dict[str, Any]:
    """Return the arguments of the algorithm's class: the file's, then the overrides."""
    entries = zoo_entries(config.algo, config.env)
    arguments = {key: value for key, value in entries.items() if key not in NOT_THE_ALGORITHMS}
    arguments |= deepcopy(config.overrides)  # the algorithms add to what they are given
    arguments["policy"] = "CnnPolicy" if config.observation == "frame" else entries["policy"]
    if config.observation == "latent":
        policy_kwargs = dict(arguments.get("policy_kwargs", {}))
        policy_kwargs["features_extractor_class"] = LatentFeatures
        arguments["policy_kwargs"] = policy_kwargs
    rate = arguments.get("learning_rate")
    if isinstance(rate, str):  # such as lin_1e-3
        arguments["learning_rate"] = LinearSchedule(float(rate.removeprefix("lin_")), 0.0, 1.0)
    return arguments


def has_agent(folder: Path) -> bool:
    """Return whether a folder holds an agent that training must not replace unasked."""
    return (folder / CHECKPOINT).is_file() or (folder / "agent.json").is_file()


def train_agent(
    config: AgentTraining,
    folder: Path,
    *,
    progress: bool = True,
    resume: bool = False,
    compare: Compare | None = None,
) -> tuple[TrainedAgent, Curve]:
    """Train an agent; at any moment the folder holds a whole checkpoint, or none.

    It writes ``checkpoint.pt``, from which training goes on, ``policy.safetensors`` and
    ``checkpoints/``, which hold policies, ``agent.json``, ``curve.json``, ``gap.json``,
    TensorBoard's ``curves/``, and at the end ``agent.zip`` for other programs with
    Stable-Baselines3. Ctrl-C keeps what is learned.

    Args:
        config: how to train.
        folder: where to write.
        progress: whether to show a progress bar.
        resume: go on with the agent in the folder, if there is one (with new episodes: the
            environments' state is not kept).
        compare: compares the world with its simulator at every checkpoint.

    Returns:
        The agent, and (step, return) of every finished episode.

    Raises:
        BundleError: if the folder's checkpoint is cut or foreign.
        BusyError: if another process works in the folder.
        StorageError: if the folder cannot be written.
        StreamDiTError: if the folder's agent was trained otherwise.
    """
    remedy = "make room, or give another folder, and go on with --resume"
    with writing_to(folder, remedy), folder_lock(folder):
        remove_parts(folder)
        remove_parts(folder / "checkpoints")
        checkpoint = _checkpoint_of(folder, config) if resume else None
        state = Progress() if checkpoint is None else checkpoint.progress
        is_done = state.is_done(config.steps)
        if is_done and checkpoint is not None:
            config = checkpoint.config
        show_progress = progress and not is_done
        callback = TrainingCallback(config, folder, state, show_progress, compare)
        agent = _train(callback, checkpoint, is_done)
    return _trained(agent, config), state.curve


def _trained(agent: BaseAlgorithm, config: AgentTraining) -> TrainedAgent:
    return TrainedAgent(agent=agent, config=config, acts_in_box=is_box(config, agent))


def _train(
    callback: TrainingCallback, checkpoint: Checkpoint | None, is_done: bool
) -> BaseAlgorithm:
    config = callback.config
    venv = make_venv(
        config.env,
        config.num_envs,
        world=config.world,
        observation=config.observation,
        frame_stack=config.frame_stack,
        scored=config.algo in CONTINUOUS_ALGORITHMS,
        penalty=config.penalty,
        reward_scale=config.reward_scale,
    )
    try:
        agent = _new_agent(config, venv, callback.folder)
        if checkpoint is not None:
            checkpoint.restore(agent)
        if not is_done:
            _learn(callback, agent, venv)
        # once more, for a run that was killed between its checkpoint and these
        write_results(callback.folder, _trained(agent, config), callback.progress)
        _write_zip(callback.folder / ZIP, agent)
    finally:
        venv.close()
    return agent


def _learn(callback: TrainingCallback, agent: BaseAlgorithm, venv: VecEnv) -> None:
    config = callback.config
    done_steps = agent.num_timesteps
    # after the agent was made, which seeds the environments too
    venv.seed(config.seed * SEED_STRIDE + done_steps)
    try:
        with callback.bar:
            agent.learn(
                config.steps - done_steps,
                callback=callback,
                tb_log_name="run",
                reset_num_timesteps=not done_steps,
            )
    except OSError:  # the last checkpoint stays; another could not be written either
        raise
    except BaseException:
        if agent.num_timesteps > done_steps:
            callback.save()
        raise
    callback.save()


def _new_agent(config: AgentTraining, venv: VecEnv, folder: Path) -> BaseAlgorithm:
    log = str(folder / "curves") if find_spec("tensorboard") else None
    algorithm = ALGORITHMS[config.algo]
    arguments = hyperparameters(config)
    try:
        return algorithm(env=venv, seed=config.seed, device="cpu", tensorboard_log=log, **arguments)
    except (AssertionError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise ArgumentError(
            f"{config.algo} does not take these hyperparameters",
            given=f"{shown(config.overrides)}: {shown(str(error))}",
            allowed="those of agents/hyperparameters, and what goes with them",
            remedy="change --set",
        ) from error


def _checkpoint_of(folder: Path, config: AgentTraining) -> Checkpoint | None:
    """Return the checkpoint to go on from; None if there is no agent yet.

    Raises:
        StreamDiTError: if there is an agent without a checkpoint, or one of other settings.
    """
    path = folder / CHECKPOINT
    if path.is_file():
        checkpoint = read_checkpoint(path)
        _check_same(checkpoint.config, config)
        return checkpoint
    if has_agent(folder):
        raise StreamDiTError(
            "no checkpoint to go on from",
            given=folder,
            allowed=f"a folder with {CHECKPOINT}",
            remedy="train anew in another folder; --trust-agents plays agents of older versions",
        )
    return None


def _check_same(before: AgentTraining, now: AgentTraining) -> None:
    for name, value in asdict(now).items():
        old_value = getattr(before, name)
        if name not in MAY_CHANGE and value != old_value:
            raise StreamDiTError(
                f"the agent here was trained with another {name}",
                given=value,
                allowed=old_value,
                remedy="leave it as it was, or give another folder",
            )


def _write_zip(path: Path, agent: BaseAlgorithm) -> None:
    """Write Stable-Baselines3's own format; it is for others, we do not read it."""
    content = io.BytesIO()
    agent.save(content)
    with atomic_write(path) as part:
        part.write_bytes(content.getvalue())
