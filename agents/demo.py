"""The demo: learn in the generated world, act there and in the real simulator, film it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from streamdit_gym.agents.agent_checkpoint import Curve, checked_curve
from streamdit_gym.agents.agent_config import AgentTraining
from streamdit_gym.agents.agent_envs import default_env, env_settings
from streamdit_gym.agents.film import plot_curve, write_mp4
from streamdit_gym.agents.policies.policy_file import POLICY, TrainedAgent, load_agent
from streamdit_gym.agents.policy_scores import (
    EvaluationSettings,
    evaluate_policies,
    print_table,
    write_scores,
)
from streamdit_gym.agents.rollouts import film_agent
from streamdit_gym.agents.train_agent import train_agent
from streamdit_gym.checks import shown
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import BundleError
from streamdit_gym.files import writing_to
from streamdit_gym.world import find_world

FILM_EPISODES = 6


def demo(
    out: Path, *, steps: int, world: str, episodes: int = 64, trust_agents: bool = False
) -> None:
    """Train PPO in the generated world, score it, and write film, curve and scores.

    Args:
        out: folder for ``film.mp4``, ``curve.png``, ``scores.json`` and the agent.
        steps: environment steps of training; 0 takes the agent that is in the folder.
        world: name, folder or Hub id; its first task is learned, of PushT reaching.
        episodes: per score.
        trust_agents: see `load_agent`.
    """
    start = time.monotonic()
    spec = shared_world(world, "cpu").spec
    env = default_env(world)
    task = env_settings(env, world).get("task", spec.default_task)
    print(f"world {spec.name}: {spec.tasks[task].about}")
    shipped = _shipped_agent(world, task, trust_agents)
    with writing_to(out, "make room, or give another --out"):
        if steps:
            print(f"training PPO for {steps} steps; StreamDiT generates every frame that it sees")
            trained, curve = train_agent(AgentTraining(env=env, steps=steps, world=world), out)
        else:
            print(f"using the agent in {out}")
            trained = load_agent(out, trust_agents=trust_agents)
            curve = _read_curve(out / "curve.json")
        training_time = time.monotonic() - start
        settings = EvaluationSettings(episodes=episodes, world=world)
        policies: dict[str, str | TrainedAgent] = {"random": "random", "PPO": trained, **shipped}
        scores = evaluate_policies(policies, env, settings)
        print_table(scores)
        write_scores(out, env, scores)
        floor = scores[0].score.mean
        title = f"PPO in the generated {spec.name} world"
        plot_curve(out / "curve.png", curve, floor, title, "return of the episode")
        film = film_agent(trained, env, episodes=FILM_EPISODES, world=world)
        write_mp4(out / "film.mp4", film, fps=round(spec.fps))
    print(f"\ntrained {training_time:.0f} s, in all {time.monotonic() - start:.0f} s")
    print(f"  {out / 'film.mp4'}   the agent, generated world and real simulator side by side")
    print(f"  {out / 'curve.png'}   how it learned")


def _shipped_agent(world: str, task: str, trust_agents: bool) -> dict[str, TrainedAgent]:
    """Return the agent that came with the world, if it did, and if it is data or trusted."""
    folder = find_world(world) / "agents" / task
    if not folder.is_dir():
        return {}
    if not trust_agents and not (folder / POLICY).is_file():
        print(
            f"left out: {folder} is a program and no policy file;"
            " demo(trust_agents=True) in Python runs it, if you trust whoever made it"
        )
        return {}
    return {"shipped PPO": load_agent(folder, trust_agents=trust_agents)}


def _read_curve(path: Path) -> Curve:
    try:
        return checked_curve(json.loads(path.read_text()))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(
            "the learning curve cannot be read",
            given=f"{path}: {shown(str(error))}",
            remedy="train it anew, or get the folder again",
        ) from error
