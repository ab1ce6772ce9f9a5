"""Train agents: ``python -m streamdit_gym.agents.train --algo ppo --steps 12000 --seeds 3``.

Takes: arguments.  Gives: a folder per seed, a table on the screen.  Knows nothing of: how frames
    are made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
import yaml

from streamdit_gym.agents.film import plot_curve, write_mp4
from streamdit_gym.agents.match import match, print_table, scores_of, write_scores
from streamdit_gym.agents.rollouts import film
from streamdit_gym.agents.training import (
    AgentTraining,
    Learned,
    Observation,
    has_agent,
    train_agent,
    twin_of,
)
from streamdit_gym.checks import shown
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import StreamDiTError, exit_status
from streamdit_gym.files import folder_lock, writing_to


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train agents with Stable-Baselines3 on generated frames only,
    then play them and a random player in the world and in its twin.
    """

    env: str = "StreamDiT/PushT-Reach-v0"
    """id to train in; a -Real- id trains in the simulator (the ceiling)"""
    world: str | None = None
    """world other than the id's own: shipped name, folder or Hub id"""
    algo: Literal["ppo", "dqn", "sac"] = "ppo"
    """algorithm of Stable-Baselines3"""
    observation: Observation = "state"
    """what the agent sees: what the world's heads read off a frame, the world's latents,
    or the frame itself
    """
    steps: int = 12_000
    """environment steps of training"""
    seeds: int = 1
    """how many agents, each with its own seed"""
    num_envs: int = 16
    """environments in one batch"""
    episodes: int = 100
    """episodes per score at the end"""
    penalty: float | None = None
    """how much of the world's self_consistency_error with itself to take off the reward;
    asking it costs a second evaluation per frame
    """
    check_every: int = 4000
    """steps between checkpoints and looks at the twin; 0: none"""
    check_episodes: int = 16
    """episodes in world and twin at each look, to see whether the world promises more than the twin
    gives; 0: none
    """
    tolerance: float = 0.15
    """share by which the world may promise more before training stops"""
    films: int = 0
    """episodes to film at the end, world and twin side by side"""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = field(default=())
    """hyperparameters other than those of agents/hyperparameters/ALGO.yml, e.g. n_epochs=5"""
    out: Path = Path("runs/agent")
    """folder; every seed has its own in it"""
    resume: bool = False
    """go on with the agents in the folder"""


def main(arguments: list[str] | None = None) -> int:
    """Train and return the exit status: 0 done, 2 a clear error, 130 stopped by Ctrl-C."""
    command = tyro.cli(Train, prog="python -m streamdit_gym.agents.train", args=arguments)
    again = " ".join(sys.argv[1:] if arguments is None else arguments)
    return exit_status(
        lambda: train(command),
        f"python -m streamdit_gym.agents.train {again}{'' if command.resume else ' --resume'}",
    )


def train(command: Train) -> None:
    """Train every seed, print the table, write ``scores.json`` and, for each agent, its curve and
    film.

    Raises:
        StreamDiTError: if an agent is in the folder already, or for what `train_agent` raises.
    """
    with (
        writing_to(command.out, "make room, or give another --out, and go on with --resume"),
        folder_lock(command.out),
    ):
        players: list[tuple[str, str | Learned]] = [("random", "random")]
        for seed in range(command.seeds):
            players.append((f"{command.algo} seed {seed}", _train_seed(command, seed)))
        rows = match(players, command.env, episodes=command.episodes, world=command.world)
        print_table(rows)
        write_scores(command.out, command.env, rows)


def _train_seed(command: Train, seed: int) -> Learned:
    folder = command.out / f"seed-{seed}"
    config = AgentTraining(
        env=command.env,
        algo=command.algo,
        world=command.world,
        observation=command.observation,
        steps=command.steps,
        num_envs=command.num_envs,
        seed=seed,
        penalty=command.penalty,
        check_every=command.check_every,
        check_episodes=command.check_episodes,
        tolerance=command.tolerance,
        overrides=overrides(command.set),
    )
    if not command.resume and has_agent(folder):
        remedy = "add --resume to go on with it, or give another --out"
        raise StreamDiTError("an agent is already here", given=folder, remedy=remedy)
    learned, curve = train_agent(
        config, folder, resume=command.resume, look=_look if _looks(config) else None
    )
    floor = scores_of("random", command.env, 32, 1000, world=command.world).mean
    title = f"{command.algo.upper()} in {command.env}, seed {seed}"
    plot_curve(folder / "curve.png", curve, floor, title, "return of the episode")
    if command.films and twin_of(command.env) != command.env:
        fps = round(shared_world(command.world or "PushT", "cpu").spec.fps)
        frames = film(learned, command.env, episodes=command.films, world=command.world)
        write_mp4(folder / "film.mp4", frames, fps=fps)
    return learned


def overrides(given: tuple[str, ...]) -> dict[str, Any]:
    """Read ``name=value`` pairs, values as YAML, and numbers also where YAML sees none, as in
    ``3e-4``.

    Raises:
        StreamDiTError: if one is no pair.
    """
    for pair in given:
        if "=" not in pair:
            raise StreamDiTError(
                "not a hyperparameter", given=pair, allowed="NAME=VALUE", remedy="as in n_epochs=5"
            )
    return {name: _value(text) for name, text in (pair.split("=", 1) for pair in given)}


def _value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        remedy = "quote it, as in 'net_arch=[64, 64]'"
        raise StreamDiTError(
            "a hyperparameter cannot be read", given=shown(text), allowed="YAML", remedy=remedy
        ) from error
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _looks(config: AgentTraining) -> bool:
    return (
        config.check_every > 0 and config.check_episodes > 0 and twin_of(config.env) != config.env
    )


def _look(learned: Learned) -> tuple[float, float, float, float]:
    config = learned.config
    imagined, real = (
        scores_of(learned, env, config.check_episodes, 2000, world=config.world)
        for env in (config.env, twin_of(config.env))
    )
    return imagined.mean, imagined.interval, real.mean, real.interval


if __name__ == "__main__":
    sys.exit(main())
