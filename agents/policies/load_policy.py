"""Policies by name: random, scripted, the planner, and trained agents by their path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamdit_gym.agents.planner import Planner
from streamdit_gym.agents.policies.planner_policy import PlannerPolicy
from streamdit_gym.agents.policies.policy import Policy
from streamdit_gym.agents.policies.policy_file import load_agent
from streamdit_gym.agents.policies.random_policy import HeldRandomPolicy, RandomPolicy
from streamdit_gym.agents.policies.scripted_policy import ScriptedPolicy
from streamdit_gym.agents.policies.trained_policy import TrainedPolicy
from streamdit_gym.errors import UnknownNameError
from streamdit_gym.world import World

NAMES = ["random", "scripted", "scripted:0.3", "planner"]


def load_policy(
    name: str,
    world: Callable[[], World],
    task: str,
    *,
    in_streams: bool = False,
    trust_agents: bool = False,
) -> Policy:
    """Return a policy by its name.

    Args:
        name: ``random``; ``scripted`` or ``scripted:0.3`` (the share of random actions);
            ``planner``; or the path of an agent's folder or of one of its policy files.
        world: returns the world; called by policies that need one.
        task: the task to do.
        in_streams: the policy acts in bare streams, where it is shown latents. There random actions
            are held for some frames, and trained agents are seeded at every step.
        trust_agents: see `load_agent`.

    Raises:
        UnknownNameError: if there is no such policy.
        BundleError: if a path holds no agent.
    """
    kind, _, noise = name.partition(":")
    if name == "random":
        return HeldRandomPolicy() if in_streams else RandomPolicy()
    if kind == "scripted":
        return ScriptedPolicy(world(), task, _share(noise), on_latents=in_streams)
    if name == "planner":
        if in_streams:
            remedy = "the planner looks at frames; use another policy"
            raise UnknownNameError("policy for streams", name, NAMES[:-1], remedy)
        return PlannerPolicy(Planner(world(), task))
    if not Path(name).exists():
        raise UnknownNameError("policy", name, NAMES, "or give an agent's folder")
    trained = load_agent(Path(name), trust_agents=trust_agents)
    return TrainedPolicy(trained, seed_every_step=in_streams)


def _share(text: str) -> float:
    """Return a share of random actions, 0 to 1; no text is 0."""
    if not text:
        return 0.0
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UnknownNameError("share of random actions", text, ["0", "0.3", "1"])
    return share
