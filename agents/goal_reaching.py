"""Reaching the state that a picture shows, in a world's reference simulator.

A goal is where the exploration policy came to some steps after the start, so it can be reached.
Source: the planning protocol of stable-worldmodel, with goals of its scripted policies.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.agents.plan_objectives import GoalDistance
from streamdit_gym.agents.planner import Planner, PlannerState, Planning
from streamdit_gym.agents.policies.policy import Actions, Policy
from streamdit_gym.checks import check_fields
from streamdit_gym.data.episode import Episode, add_frame, explore, outcome_of, state_of
from streamdit_gym.data.trial_episodes import simulator_of
from streamdit_gym.definition import HasState, Simulator, WorldDefinition
from streamdit_gym.errors import DefinitionError
from streamdit_gym.world import World

MAX_STEPS = 10_000
FIRST_STEPS = (8, 64)  # of exploration before the start: from, to
MAX_DRAWS = 100  # of episodes, until one is long enough
Frame = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, kw_only=True)
class GoalProtocol:
    """What is to be reached, and with which planner.

    Attributes:
        planning: how far and how wide to plan.
        goal_steps: steps from the start after which the exploration policy saw the goal.
        budget: steps within which the goal must be reached.
        seed: of starts, goals and candidates.

    Raises:
        ArgumentError: if a number is out of range.
    """

    planning: Planning
    goal_steps: int = 25
    budget: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        steps = (1, MAX_STEPS)
        check_fields(self, ints={"goal_steps": steps, "budget": steps, "seed": (0, 2**63 - 1)})


# with horizon and receding horizon of 5 blocks of 5 steps
SWM = Planning(
    horizon=25,
    hold=1,
    candidates=300,
    iterations=30,
    elites=30,
    uniform_share=0.0,
    replan_every=25,
)
# what two cores do in seconds: each action is held for 5 steps, and the plan is made anew after 10
QUICK = Planning(
    horizon=25,
    hold=5,
    candidates=64,
    iterations=4,
    elites=8,
    uniform_share=0.0,
    replan_every=10,
)
PROTOCOLS = {
    "swm": GoalProtocol(planning=SWM),
    "quick": GoalProtocol(planning=QUICK),
}


@dataclass(frozen=True, kw_only=True)
class GoalEpisode:
    """A start in the reference simulator, and a goal.

    Attributes:
        seed: of the simulator.
        kind: of the simulator's start, from which exploration leads to the episode's own.
        frames: up to the start, oldest first.
        actions: between them.
        actions_to_goal: those of the exploration policy from the start on.
        goal: the picture of the goal.
        goal_state: its state.
    """

    seed: list[int]
    kind: str
    frames: UInt8[np.ndarray, "k h w 3"]
    actions: Shaped[np.ndarray, "k-1 ..."]
    actions_to_goal: Shaped[np.ndarray, "s ..."]
    goal: Frame
    goal_state: Float[np.ndarray, " n"]


def draw_goal(definition: WorldDefinition, protocol: GoalProtocol, number: int) -> GoalEpisode:
    """Return an episode, which depends on the protocol's seed and on its number alone.

    Args:
        definition: the world.
        protocol: what is to be reached.
        number: of the episode.

    Raises:
        DefinitionError: if the world's episodes are too short.
    """
    for draw in range(MAX_DRAWS):
        seed = [protocol.seed, number, draw]
        rng = np.random.default_rng(seed)
        first = int(rng.integers(*FIRST_STEPS))
        kind = str(rng.choice(list(definition.starts), p=list(definition.starts.values())))
        explored = _explored(definition, seed, kind, first + protocol.goal_steps)
        if len(explored.actions) == first + protocol.goal_steps:
            return GoalEpisode(
                seed=seed,
                kind=kind,
                frames=np.stack(explored.frames[: first + 1]),
                actions=np.stack(explored.actions[:first]),
                actions_to_goal=np.stack(explored.actions[first:]),
                goal=explored.frames[-1],
                goal_state=explored.states[-1],
            )
    raise DefinitionError(
        "episodes end before a goal",
        given=f"{MAX_DRAWS} episodes of {definition.name} shorter than their start and"
        f" {protocol.goal_steps} steps",
        allowed="a world whose exploration lasts longer",
        remedy="--set goal_steps=5",
    )


def check_has_goals(definition: WorldDefinition) -> None:
    """Refuse a world in which nobody can tell whether a goal is reached.

    Raises:
        DefinitionError: if it has no simulator, no state, or no rule for reached goals.
    """
    simulator = simulator_of(definition)
    has_state = isinstance(simulator, HasState)
    simulator.close()
    if definition.evaluation.reached is None or not has_state:
        raise DefinitionError(
            "nobody has said when a goal is reached",
            given=f"{definition.name}, without a rule or without a state",
            allowed="a definition with evaluation=EvaluationAdapter(reached=...), and a simulator"
            " with `state`",
            remedy="add a function of a state and a goal's state that returns True or False",
        )


def _explored(definition: WorldDefinition, seed: list[int], kind: str, steps: int) -> Episode:
    """Return an episode of the exploration policy."""
    simulator = simulator_of(definition)
    episode = Episode()
    add_frame(definition, episode, simulator, simulator.reset(np.random.default_rng(seed), kind))
    explore(definition, simulator, np.random.default_rng([*seed, 1]), episode, steps)
    simulator.close()
    return episode


def simulator_at_start(definition: WorldDefinition, episode: GoalEpisode) -> Simulator:
    """Return a new simulator that has done what leads to an episode's start.

    Raises:
        DefinitionError: if it does not repeat what exploration has shown.
    """
    simulator = simulator_of(definition)
    frame = simulator.reset(np.random.default_rng(episode.seed), episode.kind)
    for action in episode.actions:
        frame = simulator.step(action)
    if np.array_equal(frame, episode.frames[-1]):
        return simulator
    simulator.close()
    raise DefinitionError(
        "a simulator does not repeat what it did",
        given=f"{definition.name}, seed {episode.seed}: another frame after"
        f" {len(episode.actions)} equal actions",
        allowed="a simulator that its seed determines",
        remedy="draw all chance from the `rng` of `reset`",
    )


class GoalPlanner:
    """A policy that plans to the goal's picture, from the frames up to the start on.

    Args:
        world: plans are made in it.
        episode: start and goal.
        planning: how far and how wide.

    Attributes:
        seconds: that each plan took.
    """

    observation: Literal["frame"] = "frame"

    def __init__(self, world: World, episode: GoalEpisode, planning: Planning) -> None:
        self.planner = Planner(world, GoalDistance(world, episode.goal), planning)
        self.seconds: list[float] = []
        self._episode = episode
        self._state = self._state_before(episode)

    def reset(self, num_rows: int, actions: ActionLanguage, rng: np.random.Generator) -> None:
        """Stand at the start, in one row."""
        self.planner.rng = rng
        self.seconds = []
        self._state = self._state_before(self._episode)

    def act(self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]) -> Actions:
        """Return the next action of the plan."""
        has_plan = bool(self._state.plans[0])
        began = time.perf_counter()
        actions, self._state = self.planner.predict(observation, self._state)
        if not has_plan:
            self.seconds.append(time.perf_counter() - began)
        return actions

    def _state_before(self, episode: GoalEpisode) -> PlannerState:
        """Return what the planner would remember at the start."""
        count = self.planner.engine.partition.references + 1
        idle = self.planner.world.spec.actions.idle
        missing = max(0, count + 1 - len(episode.frames))
        frames = np.concatenate([episode.frames[:1].repeat(missing, axis=0), episode.frames])
        actions = np.concatenate([idle[None].repeat(missing + 1, axis=0), episode.actions])
        return PlannerState(
            frames=frames[None, -count - 1 : -1], actions=actions[None, -count:], plans=[[]]
        )


class ReplayPolicy:
    """Does given actions in one row, then the last of them again and again.

    Args:
        actions: which.
    """

    observation = None

    def __init__(self, actions: Shaped[np.ndarray, "s ..."]) -> None:
        self._actions = actions
        self._next = 0

    def reset(self, num_rows: int, actions: ActionLanguage, rng: np.random.Generator) -> None:
        """Begin again."""
        self._next = 0

    def act(self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]) -> Actions:
        """Return the next action."""
        place = min(self._next, len(self._actions) - 1)
        self._next += 1
        return self._actions[place : place + 1]


@dataclass(frozen=True, kw_only=True)
class GoalResult:
    """How an episode went.

    Attributes:
        reached_after: steps until the goal was reached; None: it was not.
        last_frame: where it ended.
    """

    reached_after: int | None
    last_frame: Frame


def pursue(
    definition: WorldDefinition, episode: GoalEpisode, policy: Policy, budget: int
) -> GoalResult:
    """Act until the goal is reached, the episode ends or the budget is spent.

    Args:
        definition: the world.
        episode: start and goal.
        policy: acts in one row; its own chance depends on the episode alone.
        budget: most steps.

    Raises:
        DefinitionError: see `simulator_at_start`.
    """
    reached = definition.evaluation.reached
    assert reached is not None
    policy.reset(1, definition.actions, np.random.default_rng(episode.seed))
    simulator = simulator_at_start(definition, episode)
    frame = episode.frames[-1]
    reached_after = None
    for step in range(1, budget + 1):
        actions = policy.act(frame[None], np.array([step == 1]))
        frame = simulator.step(actions[0])
        if reached(state_of(simulator), episode.goal_state):
            reached_after = step
            break
        if outcome_of(simulator).terminated:
            break
    simulator.close()
    return GoalResult(reached_after=reached_after, last_frame=frame)
