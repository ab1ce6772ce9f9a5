"""Policies compared: episodes in the generated world and in its reference simulator, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from streamdit_gym.agents.agent_envs import env_settings, make_venv, reference_id
from streamdit_gym.agents.policies.load_policy import load_policy
from streamdit_gym.agents.policies.policy import Policy
from streamdit_gym.agents.policies.policy_file import TrainedAgent
from streamdit_gym.agents.policies.trained_policy import TrainedPolicy
from streamdit_gym.agents.scores import Score, play_episodes
from streamdit_gym.envs.registration import IDS
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import UnknownNameError
from streamdit_gym.files import write_json

GENERATED = "generated world"
REAL = "real simulator"


@dataclass(frozen=True, kw_only=True)
class PolicyScore:
    """How a policy did in one place.

    Attributes:
        policy: its label.
        place: `GENERATED` or `REAL`.
        score: of its episodes.
    """

    policy: str
    place: str
    score: Score


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How policies are played.

    Attributes:
        episodes: least number of episodes per score.
        seed: of environments and policies.
        num_envs: environments in one batch.
        world: a bundle other than the id's own.
        partition: how the world streams.
        trust_agents: see `load_agent`.
    """

    episodes: int
    seed: int = 1000
    num_envs: int = 16
    world: str | None = None
    partition: str = "reactive"
    trust_agents: bool = False


def places(env: str) -> dict[str, str]:
    """Return the environments to play in, by place: the given one, and its reference, if any."""
    reference = reference_id(env)
    if reference == env:
        return {REAL: env}
    return {GENERATED: env} if reference is None else {GENERATED: env, REAL: reference}


def policy_for(policy: str | TrainedAgent, env: str, settings: EvaluationSettings) -> Policy:
    """Return a policy that acts in an environment and in its reference.

    Args:
        policy: a name or path, see `load_policy`, or an agent already loaded.
        env: id of the environment.
        settings: how it is played.

    Raises:
        UnknownNameError: if there is no such environment or policy.
        BundleError: if a path holds no agent.
    """
    if isinstance(policy, TrainedAgent):
        return TrainedPolicy(policy)
    own = env_settings(env, settings.world)
    world = partial(shared_world, settings.world or own["world"], "cpu")
    return load_policy(policy, world, own["task"], trust_agents=settings.trust_agents)


def score_policy(policy: str | TrainedAgent, env: str, settings: EvaluationSettings) -> Score:
    """Return how a policy does in one environment; see `policy_for`."""
    return _score(policy_for(policy, env, settings), env, settings)


def _score(policy: Policy, env: str, settings: EvaluationSettings) -> Score:
    venv = make_venv(
        env,
        min(settings.num_envs, settings.episodes),
        world=settings.world,
        observation=policy.observation or "frame",
        partition=settings.partition,
    )
    score = play_episodes(venv, policy, settings.episodes, settings.seed)
    venv.close()
    return score


def evaluate_policies(
    policies: dict[str, str | TrainedAgent], env: str, settings: EvaluationSettings
) -> list[PolicyScore]:
    """Score every policy in the generated world and in its reference simulator.

    Args:
        policies: by label; see `policy_for`.
        env: id of the environment; of a reference only the reference is played.
        settings: how they are played.
    """
    # all are loaded before any acts, so that a typo costs nothing
    loaded = {label: policy_for(policy, env, settings) for label, policy in policies.items()}
    rows = []
    for label, policy in loaded.items():
        for place, name in places(env).items():
            score = _score(policy, name, settings)
            rows.append(PolicyScore(policy=label, place=place, score=score))
    return rows


def mean_returns(
    policies: Sequence[str], env: str, settings: EvaluationSettings
) -> dict[str, tuple[float, float]]:
    """Return every policy's mean return in the world and in its reference simulator.

    Raises:
        UnknownNameError: if the id is that of a reference, or has none.
    """
    if len(places(env)) < 2:
        compared = [name for name in IDS if len(places(name)) == 2]
        raise UnknownNameError("generated environment with a reference simulator", env, compared)
    rows = evaluate_policies({name: name for name in policies}, env, settings)
    means = {(row.policy, row.place): row.score.mean for row in rows}
    return {name: (means[name, GENERATED], means[name, REAL]) for name in dict.fromkeys(policies)}


def write_scores(folder: Path, env: str, rows: Sequence[PolicyScore]) -> None:
    """Write ``scores.json``."""
    scores = [
        {
            "policy": row.policy,
            "player": row.policy,  # the former name of "policy"
            "place": row.place,
            "mean": row.score.mean,
            "interval": row.score.half_width,
            "success": float(row.score.successes.mean()),
            "episodes": len(row.score.returns),
        }
        for row in rows
    ]
    content = {"env": env, "scores": scores}
    write_json(folder / "scores.json", content)


def print_table(rows: Sequence[PolicyScore]) -> None:
    """Print scores: mean return with its 95 % interval, successes, episodes."""
    width = max(14, *(len(row.policy) for row in rows))
    print(f"\n{'policy':{width}s} {'played in':18s} return (mean ± 95 %)")
    for row in rows:
        print(f"{row.policy:{width}s} {row.place:18s} {row.score}")
