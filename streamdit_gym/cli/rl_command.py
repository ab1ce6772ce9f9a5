"""The command ``rl``: train agents in a world, and compare policies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.option_types import Count
from streamdit_gym.cli.settings_option import Settings, parse_settings
from streamdit_gym.cli.world_argument import bundle_of

# settings of `TrainRun` and `AgentTraining` that --set takes beside hyperparameters
RUN_SETTINGS = {"episodes": 100, "films": 0}
AGENT_DEFAULTS = {"check_every": 4000, "check_episodes": 16}
AGENT_SETTINGS = (
    "observation",
    "frame_stack",
    "reward_scale",
    "num_envs",
    "penalty",
    "check_every",
    "check_episodes",
    "tolerance",
    "patience",
)


@dataclass(frozen=True, kw_only=True)
class RlTrain(Command):
    """Train agents with Stable-Baselines3 on generated frames alone.

    At the end they are compared with a random policy, in the world and in its reference simulator.
    """

    resume_options: ClassVar[str] = "--resume"

    env: str | None = None
    """id to train in; a -Real- id trains in the simulator (the ceiling);
    default: the world's first task, of PushT StreamDiT/PushT-Reach-v0
    """
    world: str | None = None
    """world: name, folder, Hub id or a Python file that registers it; default: the id's own"""
    algo: Literal["ppo", "dqn", "sac", "td3"] = "ppo"
    """algorithm of Stable-Baselines3"""
    steps: Count | None = None
    """environment steps of training; default: those of agents/hyperparameters/ALGO.yml"""
    seeds: Count = 1
    """how many agents, each with its own seed"""
    set: Settings = ()
    """hyperparameters other than those of agents/hyperparameters/ALGO.yml, e.g. n_epochs=5
    observation: state, latent or frame; default: ALGO.yml's, else state
    frame_stack: how many of the newest observations it gets at once; default: ALGO.yml's, else 1
    reward_scale: what rewards are multiplied by while it learns; default: ALGO.yml's, else 1
    num_envs=16: environments in one batch
    episodes=100: per score at the end
    films=0: episodes to film at the end
    check_every=4000: steps between checkpoints and comparisons with the simulator; 0: neither
    check_episodes=16: episodes of each comparison; 0: no comparisons
    tolerance=0.15: share by which the world may give more than the simulator
    patience=3: comparisons in a row at which it gives more, before training stops
    penalty: how much of the self-consistency error is taken off the reward; default: none
    """
    out: Path = Path("runs/agent")
    """folder; every seed has its own in it"""
    resume: bool = False
    """go on with the agents in the folder"""

    def run(self) -> None:
        """Train agents and compare them."""
        from streamdit_gym.agents.agent_config import AgentTraining
        from streamdit_gym.agents.agent_envs import default_env
        from streamdit_gym.agents.hyperparameter_files import zoo_entries
        from streamdit_gym.agents.train_run import TrainRun, train_agents

        settings = {**RUN_SETTINGS, **AGENT_DEFAULTS, **parse_settings(self.set)}
        of_run = {name: settings.pop(name) for name in RUN_SETTINGS}
        of_agent = {name: settings.pop(name) for name in AGENT_SETTINGS if name in settings}
        world = None if self.world is None else bundle_of(self.world)
        env = self.env or default_env(world)
        config = AgentTraining(
            env=env,
            algo=self.algo,
            world=world,
            steps=self.steps or zoo_entries(self.algo, env)["n_timesteps"],
            overrides=settings,
            **of_agent,
        )
        run = TrainRun(
            config=config, num_seeds=self.seeds, out=self.out, resume=self.resume, **of_run
        )
        train_agents(run)


@dataclass(frozen=True, kw_only=True)
class RlEvaluate(Command):
    """Compare policies in a world and in its reference simulator."""

    policies: Annotated[tuple[str, ...], tyro.conf.Positional] = ("random", "scripted")
    """random; scripted or scripted:0.3 (share of random actions); planner; an agent's folder, or a
    file in its checkpoints/
    """
    env: str | None = None
    """id to act in; its simulator is used as well, if there is one;
    default: the world's first task, of PushT StreamDiT/PushT-Reach-v0
    """
    world: str | None = None
    """world: name, folder, Hub id or a Python file that registers it; default: the id's own"""
    episodes: Count = 100
    """episodes per score"""
    out: Path | None = None
    """folder for scores.json"""
    trust_agents: bool = False
    """also load agents that are only there as agent.zip; such a file is a program, and can do
    whatever you can
    """

    def run(self) -> None:
        """Print the table of scores."""
        from streamdit_gym.agents.agent_envs import default_env
        from streamdit_gym.agents.evaluate_run import scores_of_named
        from streamdit_gym.agents.policy_scores import (
            EvaluationSettings,
            print_table,
            write_scores,
        )
        from streamdit_gym.files import writing_to

        world = None if self.world is None else bundle_of(self.world)
        env = self.env or default_env(world)
        settings = EvaluationSettings(
            episodes=self.episodes, world=world, trust_agents=self.trust_agents
        )
        scores = scores_of_named(self.policies, env, settings)
        print_table(scores)
        if self.out is not None:
            with writing_to(self.out, "make room, or give another --out"):
                write_scores(self.out, env, scores)


def rl(
    command: Annotated[
        Annotated[RlTrain, tyro.conf.subcommand("train")]
        | Annotated[RlEvaluate, tyro.conf.subcommand("evaluate")],
        tyro.conf.arg(name=""),
    ],
) -> Command:
    """Train agents in a world, or compare policies."""
    return command
