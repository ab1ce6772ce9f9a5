"""Trained against random, in the generated world and in the twin.

Takes: an environment id.  Gives: agents, scores, a table.  Knows nothing of: how frames are made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3 import PPO

from streamdit_gym.agents.planner import Planner, Planning, planner_player
from streamdit_gym.agents.ppo import AgentTraining, load_agent, make_venv, player_of, train_agent
from streamdit_gym.agents.scores import Score, play, random_player
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import UnknownNameError


def twin_of(env: str) -> str:
    """Return the id of the real simulator behind the same spaces, prompts and reward (a twin is its own twin)."""
    return env if "-Real-" in env else env.replace("-v", "-Real-v")


def places(env: str) -> dict[str, str]:
    """Return the environments to play in, by name: the one trained in, and its twin."""
    return {"real simulator": env} if twin_of(env) == env else {"generated world": env, "real simulator": twin_of(env)}


def scores_of(agent: PPO | None, env: str, episodes: int, seed: int, num_envs: int = 16, **settings: Any) -> Score:
    """Play an agent, or a random player if there is none."""
    venv = make_venv(env, min(num_envs, episodes), **settings)
    player = random_player(venv, seed) if agent is None else player_of(agent)
    score = play(venv, player, episodes, seed)
    venv.close()
    return score


def planner_scores(
    env: str, episodes: int, seed: int, num_envs: int = 4, planning: Planning | None = None, world: str | None = None
) -> Score:
    """Let a planner play: it looks into the generated world, whatever makes the frames."""
    own = gymnasium.spec(env).kwargs
    planner = Planner(shared_world(world or own["world"], "cpu"), own["task"], planning, seed=seed)
    venv = make_venv(env, min(num_envs, episodes), world=world, eyes=False)
    score = play(venv, planner_player(planner), episodes, seed)
    venv.close()
    return score


def match(
    env: str, folder: Path, *, steps: int, seeds: int, episodes: int, num_envs: int, planned: int = 0, world: str | None = None
) -> dict[str, Any]:
    """Train one agent per seed, play them and a random player everywhere, print a table and write ``scores.json``.

    Args:
        env: id to train in.
        folder: one sub-folder per seed.
        steps: training steps; 0 loads what is there.
        seeds: number of agents.
        episodes: per score.
        num_envs: environments in one batch.
        planned: episodes that a planner plays in each place; 0 for none.
        world: world other than the id's own.

    Raises:
        UnknownNameError: if the id does not exist.
    """
    from streamdit_gym.envs.registration import IDS

    if env not in IDS:
        raise UnknownNameError("environment", env, IDS)
    rows: list[tuple[str, str, Score]] = []
    for place, name in places(env).items():
        rows.append(("random", place, scores_of(None, name, episodes, 1000, num_envs, world=world)))
    for place, name in places(env).items() if planned else ():
        rows.append(("planner", place, planner_scores(name, planned, 1000, world=world)))
    for seed in range(seeds):
        home = folder / f"seed-{seed}"
        if steps:
            agent, _ = train_agent(AgentTraining(env=env, steps=steps, seed=seed, num_envs=num_envs), home, world=world)
        else:
            agent = load_agent(home)
        for place, name in places(env).items():
            rows.append((f"PPO seed {seed}", place, scores_of(agent, name, episodes, 1000, num_envs, world=world)))
    print_table(rows)
    return write_scores(folder, env, steps, rows)


def write_scores(folder: Path, env: str, steps: int, rows: list[tuple[str, str, Score]]) -> dict[str, Any]:
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
    result = {"env": env, "steps": steps, "scores": scores}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(result, indent=1))
    return result


def print_table(rows: list[tuple[str, str, Score]]) -> None:
    """Print scores: mean return with its 95 % interval, successes, episodes."""
    print(f"\n{'player':14s} {'played in':18s} return (mean ± 95 %)")
    for player, place, score in rows:
        print(f"{player:14s} {place:18s} {score}")
