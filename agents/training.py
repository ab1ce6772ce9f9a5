"""Training an agent on a world: any of three algorithms of Stable-Baselines3, and what a generated world needs beside them.

Takes: an environment id.  Gives: a trained agent in a folder.  Knows nothing of: how frames are made.

Hyperparameters are files in RL Baselines3 Zoo's format (hyperparameters/ALGO.yml), so both read the same ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import gymnasium
import yaml
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env.base_vec_env import VecEnv
from stable_baselines3.common.vec_env.vec_monitor import VecMonitor
from tqdm import tqdm

import streamdit_gym
from streamdit_gym.agents.features import LatentFeatures
from streamdit_gym.agents.sb3_vec_env import SB3VecEnv, ScoredActions
from streamdit_gym.envs.registration import IDS
from streamdit_gym.errors import BundleError, StreamDiTError, UnknownNameError

Observation = Literal["state", "latent", "frame"]
ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "dqn": DQN, "sac": SAC}
NOT_THE_ALGORITHMS = ("vec_env_wrapper", "n_envs", "n_timesteps", "policy")


@dataclass(frozen=True, kw_only=True)
class AgentTraining:
    """How an agent is trained.

    Attributes:
        env: id of the environment.
        algo: ``"ppo"``, ``"dqn"`` or ``"sac"``.
        world: a bundle other than the id's own.
        observation: what the agent sees: ``"state"``, ten numbers that the world's heads read off a frame; ``"latent"``, the world's
            latents; ``"frame"``, pixels.
        steps: environment steps in all.
        num_envs: environments in one batch.
        seed: of policy and environments.
        penalty: how much of the world's disagreement with itself is taken off the reward, see `StreamDiTVectorEnv`; None: it is not asked.
        check_every: steps between checkpoints, and between looks at the twin; 0: neither.
        check_episodes: episodes played in world and twin at each look; 0: none are.
        tolerance: how much more than the twin the world may promise before training stops, as a share of the twin's return (of 1 at least).
        patience: looks in a row at which it promises more, beyond what chance explains, before training stops.
        overrides: hyperparameters other than the file's.
    """

    env: str = "StreamDiT/PushT-Reach-v0"
    algo: str = "ppo"
    world: str | None = None
    observation: Observation = "state"
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
        for kind, given, allowed in (
            ("environment", self.env, IDS), ("algorithm", self.algo, ALGORITHMS),
            ("observation", self.observation, ("state", "latent", "frame")),
        ):  # fmt: skip
            if given not in allowed:
                raise UnknownNameError(kind, given, allowed)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A trained agent and how it was trained, which says what it must be shown."""

    agent: BaseAlgorithm
    config: AgentTraining


def twin_of(env: str) -> str:
    """Return the id of the real simulator behind the same spaces, prompts and reward (a twin is its own twin)."""
    return env if "-Real-" in env else env.replace("-v", "-Real-v")


def make_venv(
    env: str, num_envs: int, *, world: str | None = None, observation: Observation = "state", scored: bool = False, **settings: Any
) -> VecEnv:
    """Return environments as an agent sees them: adapter and episode statistics.

    Args:
        env: id, generated or real.
        num_envs: number of environments.
        world: a bundle other than the id's own; for a real id only the eyes are taken from it.
        observation: see `AgentTraining`.
        scored: let actions be one number per menu entry, for algorithms that act in numbers; the largest is done.
        **settings: of the environment.

    Raises:
        UnknownNameError: if there is no such id.
    """
    streamdit_gym.register()
    if env not in gymnasium.registry:
        raise UnknownNameError("environment", env, IDS)
    own = gymnasium.spec(env).kwargs
    if world is not None:
        settings["eyes" if own.get("real") else "world"] = world
    envs = gymnasium.make_vec(env, num_envs=num_envs, observation=observation, autoreset_mode="SAME_STEP", **settings)
    venv: VecEnv = VecMonitor(SB3VecEnv(envs))
    return ScoredActions(venv) if scored else venv


def hyperparameters(config: AgentTraining) -> dict[str, Any]:
    """Return the arguments of the algorithm's class: the file's, the overrides, and what the observation asks for.

    Raises:
        UnknownNameError: if the algorithm knows no such argument.
    """
    known = yaml.safe_load(files("streamdit_gym.agents").joinpath("hyperparameters", f"{config.algo}.yml").read_text())
    allowed = set(signature(ALGORITHMS[config.algo].__init__).parameters) - {"self", "env", "policy"}
    for name in config.overrides:
        if name not in allowed:
            raise UnknownNameError("hyperparameter", name, allowed)
    found = {key: value for key, value in known[config.env].items() if key not in NOT_THE_ALGORITHMS} | config.overrides
    found["policy"] = "CnnPolicy" if config.observation == "frame" else known[config.env]["policy"]
    if config.observation == "latent":
        found["policy_kwargs"] = {**found.get("policy_kwargs", {}), "features_extractor_class": LatentFeatures}
    rate = found.get("learning_rate")
    if isinstance(rate, str) and rate.startswith("lin_"):
        found["learning_rate"] = LinearSchedule(float(rate.removeprefix("lin_")), 0.0, 1.0)
    return found


class Diary(BaseCallback):
    """Keeps the return of every finished episode, shows progress, and every so often saves the agent and looks at the twin.

    Args:
        config: how the agent is trained.
        folder: where to keep everything.
        points: (step, return) of the episodes of earlier calls.
        progress: whether to show a bar.
        look: compares what the world promises with what the twin gives; returns (promised, interval, real, interval).
    """

    def __init__(
        self, config: AgentTraining, folder: Path, points: list[tuple[int, float]], progress: bool,
        look: Callable[[Learned], tuple[float, float, float, float]] | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.folder, self.points, self.look = config, folder, points, look
        self.bar = tqdm(total=config.steps, desc=config.algo.upper(), unit="step", disable=not progress)
        self.looks: list[dict[str, float]] = json.loads((folder / "gap.json").read_text()) if (folder / "gap.json").is_file() else []
        self.stopped = ""
        self._next = 0

    def _on_training_start(self) -> None:
        self.bar.update(self.num_timesteps - self.bar.n)
        self._plan()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.points.append((self.num_timesteps, float(info["episode"]["r"])))
        self.bar.update(self.num_timesteps - self.bar.n)
        if self.points and self.n_calls % 20 == 0:
            recent = [value for _, value in self.points[-50:]]
            self.bar.set_postfix_str(f"return of the last {len(recent)} episodes {sum(recent) / len(recent):.2f}")
        if self.config.check_every and self.num_timesteps >= self._next:
            self._plan()
            self.keep()
            (self.folder / "checkpoints").mkdir(exist_ok=True)
            self.model.save(self.folder / "checkpoints" / f"{self.num_timesteps:08d}.zip")
            return self._compare()
        return True

    def keep(self) -> None:
        """Write everything that resuming needs; what is there is whole at any moment."""
        save_whole(self.folder / "agent.zip", self.model.save)
        if hasattr(self.model, "save_replay_buffer"):
            save_whole(self.folder / "replay_buffer.pkl", self.model.save_replay_buffer)
        about = {**asdict(self.config), "trained_steps": self.num_timesteps, "stopped": self.stopped}
        for name, content in (("agent", about), ("curve", self.points), ("gap", self.looks)):
            save_whole(self.folder / f"{name}.json", lambda path, content=content: Path(path).write_text(json.dumps(content, indent=1)))

    def _plan(self) -> None:
        every = self.config.check_every
        self._next = (self.num_timesteps // every + 1) * every if every else 0

    def _compare(self) -> bool:
        """Look at the twin; return whether to go on."""
        if self.look is None:
            return True
        promised, promised_by, real, real_by = self.look(Learned(agent=self.model, config=self.config))
        over = (promised - real) / max(1.0, abs(real))
        beyond_chance = promised - promised_by > real + real_by and over > self.config.tolerance
        self.looks.append(
            {"step": self.num_timesteps, "imagined": promised, "real": real, "over": over, "beyond_chance": float(beyond_chance)}
        )
        for name, value in (("imagined", promised), ("real", real), ("over", over)):
            self.logger.record(f"gap/{name}", value)
        self.logger.dump(self.num_timesteps)
        recent = self.looks[-self.config.patience :]
        if len(recent) == self.config.patience and all(look["beyond_chance"] for look in recent):
            self.stopped = f"the world promised {100 * over:.0f} % more than the twin gave, {self.config.patience} looks in a row"
            self.bar.write(f"stopped: {self.stopped}")
        return not self.stopped


def save_whole(path: Path, save: Callable[[str], Any]) -> None:
    """Save beside a file, then put it in its place, so that a kill never leaves half a file."""
    part = path.with_name(f"part-{path.name}")
    save(str(part))
    os.replace(part, path)


def train_agent(
    config: AgentTraining, folder: Path, *, progress: bool = True, resume: bool = False,
    look: Callable[[Learned], tuple[float, float, float, float]] | None = None,
) -> tuple[Learned, list[tuple[int, float]]]:  # fmt: skip
    """Train an agent and write ``agent.zip``, ``agent.json``, ``curve.json``, TensorBoard's ``curves/`` and ``checkpoints/``.

    Ctrl-C keeps what is learned.

    Args:
        config: how to train.
        folder: where to write.
        progress: whether to show a progress bar.
        resume: go on with the agent in the folder (with new episodes: the environments' state is not kept).
        look: compares world and twin at every checkpoint, see `Diary`.

    Returns:
        The agent, and (step, return) of every finished episode.

    Raises:
        UnknownNameError: for an unknown environment, algorithm or observation.
        StreamDiTError: if the folder's agent was trained otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    venv = make_venv(
        config.env, config.num_envs, world=config.world, observation=config.observation, scored=config.algo == "sac",
        disagreement_penalty=config.penalty,
    )  # fmt: skip
    log = str(folder / "curves") if find_spec("tensorboard") else None
    points: list[tuple[int, float]] = []
    if resume and (folder / "agent.json").is_file():
        agent, points = _resumed(config, folder, venv, log)
    else:
        (folder / "gap.json").unlink(missing_ok=True)
        agent = ALGORITHMS[config.algo](env=venv, seed=config.seed, device="cpu", tensorboard_log=log, **hyperparameters(config))
    # after the agent, which seeds them too, and would let neighbouring seeds share streams
    venv.seed(config.seed * 10_007 + agent.num_timesteps)
    diary = Diary(config, folder, points, progress, look)
    try:
        with diary.bar:
            agent.learn(config.steps - agent.num_timesteps, callback=diary, tb_log_name="run", reset_num_timesteps=not agent.num_timesteps)
    finally:
        diary.keep()
        venv.close()
    return Learned(agent=agent, config=config), points


def _resumed(config: AgentTraining, folder: Path, venv: VecEnv, log: str | None) -> tuple[BaseAlgorithm, list[tuple[int, float]]]:
    before = load_agent(folder).config
    for name, given in asdict(config).items():
        if name not in ("steps", "check_every", "check_episodes", "tolerance", "patience") and given != getattr(before, name):
            raise StreamDiTError(
                f"the agent here was trained with another {name}", given=given, allowed=getattr(before, name),
                remedy="leave it as it was, or give another folder",
            )  # fmt: skip
    agent = ALGORITHMS[config.algo].load(folder / "agent.zip", env=venv, device="cpu", tensorboard_log=log)
    if (folder / "replay_buffer.pkl").is_file():
        agent.load_replay_buffer(folder / "replay_buffer.pkl")  # type: ignore[attr-defined]
    return agent, [(int(step), float(value)) for step, value in json.loads((folder / "curve.json").read_text())]


def load_agent(place: Path) -> Learned:
    """Load an agent: a folder that `train_agent` wrote, the ``agent.zip`` in it, or one of the files in its ``checkpoints/``.

    Raises:
        BundleError: if there is none.
    """
    file = place / "agent.zip" if place.is_dir() else place
    folder = place if place.is_dir() else place.parent if (place.parent / "agent.json").is_file() else place.parent.parent
    if not file.is_file() or not (folder / "agent.json").is_file():
        raise BundleError(
            "no agent here", given=place, allowed="a folder with agent.zip and agent.json, that agent.zip, or a file in its checkpoints/",
            remedy="train one: python -m streamdit_gym.agents.train --out FOLDER",
        )  # fmt: skip
    about = json.loads((folder / "agent.json").read_text())
    config = AgentTraining(**{name: value for name, value in about.items() if name not in ("trained_steps", "stopped")})
    return Learned(agent=ALGORITHMS[config.algo].load(file, device="cpu"), config=config)
