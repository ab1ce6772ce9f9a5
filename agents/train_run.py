"""A training run: agents of several seeds in one folder, each with its scores, curve and film."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from streamdit_gym.agents.agent_checkpoint import Curve
from streamdit_gym.agents.agent_config import AgentTraining
from streamdit_gym.agents.agent_envs import env_settings, is_reference, reference_id
from streamdit_gym.agents.film import plot_curve, write_mp4
from streamdit_gym.agents.policies.policy_file import TrainedAgent
from streamdit_gym.agents.policy_scores import (
    EvaluationSettings,
    evaluate_policies,
    print_table,
    score_policy,
    write_scores,
)
from streamdit_gym.agents.rollouts import film_agent
from streamdit_gym.agents.train_agent import has_agent, train_agent
from streamdit_gym.agents.training_callback import ReturnGap
from streamdit_gym.checks import check_int
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.files import folder_lock, writing_to

MAX_EPISODES = 10**6
FLOOR_EPISODES = 32  # of the random policy, for the line in the curve's picture
COMPARISON_SEED = 2000


@dataclass(frozen=True, kw_only=True)
class TrainRun:
    """What to train, and what to do with it afterwards.

    Attributes:
        config: how every agent is trained; the seed is replaced.
        num_seeds: how many agents, with seeds from 0.
        episodes: per score at the end.
        films: episodes to film at the end.
        out: folder; every seed has its own in it.
        resume: go on with the agents in the folder.
    """

    config: AgentTraining
    num_seeds: int
    episodes: int
    films: int
    out: Path
    resume: bool

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ArgumentError: if one is out of range.
        """
        check_int("episodes", self.episodes, least=1, most=MAX_EPISODES)
        check_int("films", self.films, least=0, most=MAX_EPISODES)


def train_agents(run: TrainRun) -> None:
    """Train every seed, print the table, and write ``scores.json``, curves and films.

    Raises:
        StreamDiTError: if an agent is in the folder already, or for what `train_agent` raises.
    """
    config = run.config
    remedy = "make room, or give another --out, and go on with --resume"
    with writing_to(run.out, remedy), folder_lock(run.out):
        policies: dict[str, str | TrainedAgent] = {"random": "random"}
        for seed in range(run.num_seeds):
            policies[f"{config.algo} seed {seed}"] = _train_seed(run, seed)
        settings = EvaluationSettings(episodes=run.episodes, world=config.world)
        scores = evaluate_policies(policies, config.env, settings)
        print_table(scores)
        write_scores(run.out, config.env, scores)


def _train_seed(run: TrainRun, seed: int) -> TrainedAgent:
    folder = run.out / f"seed-{seed}"
    config = replace(run.config, seed=seed)
    if not run.resume and has_agent(folder):
        remedy = "add --resume to go on with it, or give another --out"
        raise StreamDiTError("an agent is already here", given=folder, remedy=remedy)
    has_comparisons = config.check_every > 0 and config.check_episodes > 0
    compare = None
    if has_comparisons and reference_id(config.env) not in (None, config.env):
        compare = compare_with_simulator
    trained, curve = train_agent(config, folder, resume=run.resume, compare=compare)
    _plot(folder, config, curve)
    if run.films and not is_reference(config.env):
        world = shared_world(env_settings(config.env, config.world)["world"], "cpu")
        fps = round(world.spec.fps)
        film = film_agent(trained, config.env, episodes=run.films, world=config.world)
        write_mp4(folder / "film.mp4", film, fps=fps)
    return trained


def _plot(folder: Path, config: AgentTraining, curve: Curve) -> None:
    settings = EvaluationSettings(episodes=FLOOR_EPISODES, world=config.world)
    floor = score_policy("random", config.env, settings).mean
    title = f"{config.algo.upper()} in {config.env}, seed {config.seed}"
    plot_curve(folder / "curve.png", curve, floor, title, "return of the episode")


def compare_with_simulator(trained: TrainedAgent) -> ReturnGap:
    """Return an agent's mean returns in the world that it trains in and in its simulator."""
    config = trained.config
    settings = EvaluationSettings(
        episodes=config.check_episodes, seed=COMPARISON_SEED, world=config.world
    )
    generated = score_policy(trained, config.env, settings)
    reference = reference_id(config.env)
    assert reference is not None, "who asks for a comparison has a simulator"
    real = score_policy(trained, reference, settings)
    return ReturnGap(
        generated=generated.mean,
        generated_interval=generated.half_width,
        real=real.mean,
        real_interval=real.half_width,
    )
