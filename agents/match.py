"""Players against each other, in the generated world and in the twin.

Takes: players by name.  Gives: scores, a table.  Knows nothing of: how frames are made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from streamdit_gym.agents.features import encode
from streamdit_gym.agents.planner import Planner, planner_player
from streamdit_gym.agents.policies import Learned, load_agent
from streamdit_gym.agents.scores import Player, Score, play
from streamdit_gym.agents.training import make_venv, twin_of
from streamdit_gym.envs.registration import IDS
from streamdit_gym.envs.worlds import scripted_policy_of, shared_world
from streamdit_gym.errors import UnknownNameError
from streamdit_gym.files import write_text

Row = tuple[str, str, Score]  # player, place, score


def places(env: str) -> dict[str, str]:
    """Return the environments to play in, by name: the one given, and its twin."""
    return (
        {"real simulator": env}
        if twin_of(env) == env
        else {"generated world": env, "real simulator": twin_of(env)}
    )


def find_player(name: str, *, trust_agents: bool = False) -> str | Learned:
    """Return a player by name, an agent already loaded.

    Args:
        name: ``random``; ``scripted`` or ``scripted:0.3`` (the share of random moves); ``planner``;
            or an agent's folder or checkpoint.
        trust_agents: see `load_agent`.

    Raises:
        UnknownNameError: if it is neither.
        BundleError: if a path holds no agent.
    """
    kind, _, noise = name.partition(":")
    if kind == "scripted" and noise and not _is_share(noise):
        raise UnknownNameError("share of random moves", noise, ["0", "0.3", "1"])
    if name in ("random", "planner") or kind == "scripted":
        return name
    if not Path(name).exists():
        raise UnknownNameError(
            "player",
            name,
            ["random", "scripted", "scripted:0.3", "planner"],
            "or give an agent's folder",
        )
    return load_agent(Path(name), trust_agents=trust_agents)


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def scores_of(
    player: str | Learned,
    env: str,
    episodes: int,
    seed: int,
    *,
    num_envs: int = 16,
    world: str | None = None,
    partition: str = "reactive",
) -> Score:
    """Play a player.

    Args:
        player: an agent, or a name, see `find_player`.
        env: id of the environment.
        episodes: least number of episodes.
        seed: of environments and player.
        num_envs: environments in one batch.
        world: a bundle other than the id's own.
        partition: how it streams.
    """
    found = find_player(player) if isinstance(player, str) else player
    learned = found if isinstance(found, Learned) else None
    venv = make_venv(
        env,
        min(num_envs, episodes),
        world=world,
        observation="frame" if learned is None else learned.config.observation,
        scored=learned is not None and learned.config.algo == "sac",
        partition=partition,
    )
    score = play(venv, _act(found, venv, env, seed, world), episodes, seed)
    venv.close()
    return score


def _act(found: str | Learned, venv: VecEnv, env: str, seed: int, world: str | None) -> Player:
    if isinstance(found, Learned):
        return agent_player(found)
    if found == "random":
        return random_player(venv, seed)
    own = gymnasium.spec(env).kwargs
    if found == "planner":
        return planner_player(
            Planner(shared_world(world or own["world"], "cpu"), own["task"], seed=seed)
        )
    return scripted_player(
        world or own["world"], own["task"], float(found.partition(":")[2] or 0), seed
    )


def agent_player(learned: Learned, *, deterministic: bool = False) -> Player:
    """Return a player that follows an agent's policy."""
    return lambda observation, _starts: learned.agent.predict(
        observation, deterministic=deterministic
    )[0]


def random_player(venv: VecEnv, seed: int) -> Player:
    """Return a player that draws every action uniformly from the action space."""
    rng = np.random.default_rng(seed)
    count = int(venv.action_space.n)  # type: ignore[attr-defined]
    return lambda _observation, _starts: rng.integers(count, size=venv.num_envs)


def scripted_player(world: str, task: str, noise: float, seed: int) -> Player:
    """Return the world's scripted player; it reads the state off the frames with the world's heads,
    so it plays generated ones too.

    Args:
        world: bundle with the eyes.
        task: name of the task.
        noise: share of moves that are random instead.
        seed: of those.

    Raises:
        UnknownNameError: if there is no script for the world.
    """
    bundle, rng = shared_world(world, "cpu"), np.random.default_rng(seed)
    script, count = scripted_policy_of(bundle.spec.name), len(bundle.spec.menu)

    def act(frames: np.ndarray, _starts: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            states = bundle.readout(encode(bundle, frames))[0][:, 0].cpu().numpy()
        moves = script(states, task)
        return np.where(rng.random(len(moves)) < noise, rng.integers(count, size=len(moves)), moves)

    return act


def match(
    players: Sequence[tuple[str, str | Learned]],
    env: str,
    *,
    episodes: int,
    seed: int = 1000,
    num_envs: int = 16,
    world: str | None = None,
    partition: str = "reactive",
    trust_agents: bool = False,
) -> list[Row]:
    """Let every player play in every place; ``players`` are labels with players as `scores_of`
    takes them.
    """
    # all are loaded before any plays, so that a typo costs nothing
    loaded = [
        (
            label,
            find_player(player, trust_agents=trust_agents) if isinstance(player, str) else player,
        )
        for label, player in players
    ]
    return [
        (
            label,
            place,
            scores_of(
                player, name, episodes, seed, num_envs=num_envs, world=world, partition=partition
            ),
        )
        for label, player in loaded
        for place, name in places(env).items()
    ]


def played(
    players: Sequence[str],
    env: str,
    *,
    episodes: int,
    world: str | None = None,
    partition: str = "reactive",
    trust_agents: bool = False,
) -> dict[str, tuple[float, float]]:
    """Return every player's mean return in the world and in the twin, for the judge's policy
    correlation.

    Raises:
        UnknownNameError: if the id is a twin's.
    """
    if twin_of(env) == env:
        raise UnknownNameError(
            "generated environment", env, [name for name in IDS if twin_of(name) != name]
        )
    rows = match(
        [(name, name) for name in players],
        env,
        episodes=episodes,
        world=world,
        partition=partition,
        trust_agents=trust_agents,
    )
    return {rows[i][0]: (rows[i][2].mean, rows[i + 1][2].mean) for i in range(0, len(rows), 2)}


def write_scores(folder: Path, env: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Write ``scores.json`` and return its content."""
    scores = [
        {
            "player": player,
            "place": place,
            "mean": score.mean,
            "interval": score.interval,
            "success": float(score.successes.mean()),
            "episodes": len(score.returns),
        }
        for player, place, score in rows
    ]
    result = {"env": env, "scores": scores}
    write_text(folder / "scores.json", json.dumps(result, indent=1))
    return result


def print_table(rows: Sequence[Row]) -> None:
    """Print scores: mean return with its 95 % interval, successes, episodes."""
    width = max(14, *(len(player) for player, _, _ in rows))
    print(f"\n{'player':{width}s} {'played in':18s} return (mean ± 95 %)")
    for player, place, score in rows:
        print(f"{player:{width}s} {place:18s} {score}")
