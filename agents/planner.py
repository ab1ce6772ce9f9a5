"""A planner: model-predictive control by the cross-entropy method, inside the world model.

From the newest frames, streams branch into one batch of candidate futures, each with its own
actions. The world's readout gives their rewards, and the candidates of the next round are drawn
like the best ones. Nothing is learned beforehand, so a planner shows what the world knows.
"""

from __future__ import annotations

import warnings
from dataclasses import InitVar, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from streamdit_gym.actions import Menu
from streamdit_gym.checks import check_fields
from streamdit_gym.errors import ArgumentError, ShapeError, StreamDiTError, UnknownNameError
from streamdit_gym.presets import partition_for
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.session import Session
from streamdit_gym.world import World

MAX_COUNT = 10**6


@dataclass(frozen=True, kw_only=True)
class Planning:
    """How far and how wide to plan.

    Attributes:
        horizon: frames to look ahead.
        hold: frames that an action of a candidate is held.
        candidates: futures per environment and round.
        iterations: rounds of drawing candidates.
        elites: the next round is drawn like so many of the best futures.
        uniform_share: share of the actions that are drawn uniformly all the same, 0 to 1.
        replan_every: frames of the best plan to play before planning anew.
        gamma: discount, 0 to 1.
        rounds, spread, play: former names of `iterations`, `uniform_share` and `replan_every`.

    Raises:
        ArgumentError: if a number is of the wrong type or out of range, or two do not fit each
            other.
    """

    horizon: int = 12
    hold: int = 2
    candidates: int = 24
    iterations: int = 2
    elites: int = 6
    uniform_share: float = 0.2
    replan_every: int = 6
    gamma: float = 0.97
    rounds: InitVar[int | None] = None
    spread: InitVar[float | None] = None
    play: InitVar[int | None] = None

    def __post_init__(self, rounds: int | None, spread: float | None, play: int | None) -> None:
        self._take_former("iterations", "rounds", rounds)
        self._take_former("uniform_share", "spread", spread)
        self._take_former("replan_every", "play", play)
        counts = ("horizon", "hold", "candidates", "iterations", "elites", "replan_every")
        check_fields(
            self,
            ints=dict.fromkeys(counts, (1, MAX_COUNT)),
            reals={"uniform_share": (0, 1), "gamma": (0, 1)},
        )
        if self.replan_every > self.horizon or self.elites > self.candidates:
            raise ArgumentError(
                "a plan that cannot be",
                given=f"{self}",
                allowed="replan_every <= horizon, elites <= candidates",
                remedy="leave the settings out",
            )

    def _take_former(self, name: str, former_name: str, value: float | None) -> None:
        """Set an attribute that was given by its former name, which works for one release."""
        if value is not None:
            text = f"Planning({former_name}=) is now Planning({name}=)"
            warnings.warn(text, DeprecationWarning, stacklevel=4)
            object.__setattr__(self, name, value)


@dataclass
class PlannerState:
    """What a planner remembers of a batch of environments.

    Attributes:
        frames: the newest frames, oldest first.
        actions: the action that led to each of them.
        plans: what is left of every environment's plan.
    """

    frames: UInt8[np.ndarray, "n k h w 3"]
    actions: Int[np.ndarray, "n k"]
    plans: list[list[int]]


class Planner:
    """Plans with a world; `predict` is called like that of a recurrent Stable-Baselines3 policy.

    Args:
        world: the world model.
        task: one of its tasks.
        planning: how far and how wide.
        seed: of the candidates and of the world's noise.
        autocast: run the transformer in bfloat16.

    Raises:
        StreamDiTError: if the world has no menu, or the task no potential.
        UnknownNameError: if the world has no such task.
    """

    def __init__(
        self,
        world: World,
        task: str,
        planning: Planning | None = None,
        *,
        seed: int = 0,
        autocast: bool = False,
    ) -> None:
        if not isinstance(world.spec.actions, Menu):
            raise StreamDiTError(
                "the planner chooses from a menu",
                given=f"{world.spec.name}, whose actions are a box",
                allowed="a world whose actions are a Menu",
                remedy="use another policy: random, scripted or a trained agent",
            )
        if task not in world.spec.tasks:
            raise UnknownNameError("task", task, world.spec.tasks)
        self.world = world
        self.task = world.spec.potential_task(task)
        self.planning = planning or Planning()
        partition = partition_for(world, "reactive")
        self.engine = Engine(world.model, world.table, partition, autocast=autocast)
        plainest_phrases = [phrases[0] for phrases in world.spec.menu]
        self.prompt_rows = world.table.rows(plainest_phrases)
        self.rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: UInt8[np.ndarray, "n h w 3"],
        state: PlannerState | None = None,
        episode_start: Bool[np.ndarray, " n"] | None = None,
        deterministic: bool = True,
    ) -> tuple[Int[np.ndarray, " n"], PlannerState]:
        """Return an action for every environment, and what to hand in at the next call.

        Args:
            observation: the newest frame of every environment, uint8.
            state: what the last call returned; None at the first.
            episode_start: which environments began a new episode with this frame.
            deterministic: as in Stable-Baselines3; a planner knows one way only.

        Raises:
            ShapeError: if the observations are no frames of the world.
        """
        frames = np.asarray(observation)
        self._check_frames(frames)
        is_new = np.full(len(frames), state is None)
        if episode_start is not None:
            is_new |= np.asarray(episode_start, dtype=bool)
        state = self._with_frames(state, frames, is_new)
        self._plan_where_none(state)
        actions = np.array([plan[0] for plan in state.plans])
        state.plans = [plan[1:] for plan in state.plans]
        earlier_actions = state.actions[:, 1:]
        state.actions = np.concatenate([earlier_actions, actions[:, None]], axis=1)
        return actions, state

    def _check_frames(self, frames: np.ndarray) -> None:
        frame_shape = self.world.spec.frame_shape
        has_shape = frames.ndim == 4 and frames.shape[1:] == frame_shape
        if not has_shape or frames.dtype != np.uint8:
            raise ShapeError(
                "a planner needs frames",
                given=f"{frames.shape} {frames.dtype}",
                allowed=f"{('n', *frame_shape)} uint8",
                remedy="give it the environment's frames, not features",
            )

    def _with_frames(
        self,
        state: PlannerState | None,
        frames: UInt8[np.ndarray, "n h w 3"],
        is_new: Bool[np.ndarray, " n"],
    ) -> PlannerState:
        """Return a new state with the newest frames; new episodes repeat their only frame."""
        num_frames = self.engine.partition.references + 1
        if state is None:
            return PlannerState(
                frames=np.repeat(frames[:, None], num_frames, axis=1),
                actions=np.zeros((len(frames), num_frames), dtype=np.int64),
                plans=[[] for _ in frames],
            )
        earlier_frames = state.frames[:, 1:]
        history = np.concatenate([earlier_frames, frames[:, None]], axis=1)
        actions = state.actions.copy()
        plans = list(state.plans)
        for row in np.flatnonzero(is_new):
            history[row] = frames[row]
            actions[row] = 0
            plans[row] = []
        return PlannerState(frames=history, actions=actions, plans=plans)

    def _plan_where_none(self, state: PlannerState) -> None:
        """Plan anew for the environments that have played their plan."""
        rows = [row for row, plan in enumerate(state.plans) if not plan]
        if not rows:
            return
        plans = self.plan(state.frames[rows], state.actions[rows])
        for row, plan in zip(rows, plans, strict=True):
            state.plans[row] = plan[: self.planning.replan_every].tolist()

    @torch.no_grad()
    def plan(
        self, frames: UInt8[np.ndarray, "n k h w 3"], actions: Int[np.ndarray, "n k"]
    ) -> Int[np.ndarray, "n horizon"]:
        """Return the best plan of all rounds for every environment.

        Args:
            frames: the newest frames, oldest first.
            actions: the action that led to each of them.
        """
        planning = self.planning
        count = len(frames)
        pixels = torch.from_numpy(frames).to(self.world.device)
        latents = self.world.codec.encode(pixels)
        num_actions = len(self.prompt_rows)
        num_parts = -(-planning.horizon // planning.hold)
        probabilities = np.full((count, num_parts, num_actions), 1 / num_actions)
        best_plans = np.zeros((count, planning.horizon), dtype=np.int64)
        best_returns = np.full(count, -np.inf)
        for _ in range(planning.iterations):
            candidates = self._draw_candidates(probabilities)
            plans = candidates.repeat(planning.hold, axis=-1)
            plans = plans[..., : planning.horizon]
            returns = self.returns(latents, actions, plans)
            for row in range(count):
                ranking = returns[row].argsort()[::-1]
                best = ranking[0]
                best_return = returns[row, best]
                if best_return > best_returns[row]:
                    best_plans[row] = plans[row, best]
                    best_returns[row] = best_return
                elites = ranking[: planning.elites]
                probabilities[row] = self._fit(candidates[row, elites], num_actions)
        return best_plans

    def _draw_candidates(
        self, probabilities: Float[np.ndarray, "n parts a"]
    ) -> Int[np.ndarray, "n m parts"]:
        """Draw candidates: one action per part of the horizon, from its probabilities."""
        count, num_parts, num_actions = probabilities.shape
        uniform = self.rng.random((count, self.planning.candidates, num_parts, 1))
        exceeds = uniform > probabilities.cumsum(-1)[:, None]
        # rounding can leave the last sum just under 1
        return exceeds.sum(-1).clip(max=num_actions - 1)

    def _fit(
        self, elites: Int[np.ndarray, "e parts"], num_actions: int
    ) -> Float[np.ndarray, "parts a"]:
        """Return the elites' action frequencies, mixed with uniform ones."""
        planning = self.planning
        uniform_share = planning.uniform_share
        counts = np.stack([np.bincount(part, minlength=num_actions) for part in elites.T])
        like_elites = (1 - uniform_share) * counts / planning.elites
        return like_elites + uniform_share / num_actions

    def returns(
        self,
        latents: Float[Tensor, "n k c h w"],
        actions: Int[np.ndarray, "n k"],
        plans: Int[np.ndarray, "n m horizon"],
    ) -> Float[np.ndarray, "n m"]:
        """Return every plan's discounted reward in the world, up to its first success.

        Args:
            latents: the newest frames.
            actions: the action that led to each of them.
            plans: m plans for each.
        """
        count, num_plans, horizon = plans.shape
        num_futures = count * num_plans
        copies = torch.arange(count).repeat_interleave(num_plans)
        session = self._branch(latents, actions, copies)
        flat_plans = torch.from_numpy(plans.reshape(num_futures, horizon))
        newest = latents[:, -1:]
        previous_potential = self._task_scores(newest)[0][copies]
        device = previous_potential.device
        total = torch.zeros(num_futures, device=device)
        weight = torch.ones(num_futures, device=device)
        task = self.task
        gamma = self.planning.gamma
        for step in range(horizon):
            prompts = self.prompt_rows[flat_plans[:, step]]
            frame = self.engine.tick(session, prompts)
            potential, success = self._task_scores(frame)
            gain = potential - previous_potential
            rewards = task.reward(gain, success)
            total += weight * rewards
            goes_on = success <= task.threshold
            weight = weight * gamma * goes_on
            previous_potential = potential
        returns = total.reshape(count, num_plans)
        return returns.cpu().numpy()

    def _branch(
        self,
        latents: Float[Tensor, "n k c h w"],
        actions: Int[np.ndarray, "n k"],
        copies: Int[Tensor, " futures"],
    ) -> Session:
        """Return a session of futures, each with the past of a row and noise of its own."""
        seeds = self.rng.integers(2**63, size=len(copies))
        noise = Noise.seeded(seeds.tolist())
        prompts = self.prompt_rows[torch.from_numpy(actions)]
        return self.engine.start(latents[copies], prompts[copies], noise)

    def _task_scores(
        self, frame: Float[Tensor, "b 1 c h w"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Return the task's potential and success probability in a frame of every row."""
        _, scores = self.world.readout(frame)
        names = self.world.spec.score_names
        potential = names.index(self.task.potential)
        success = names.index(self.task.success)
        return scores[:, 0, potential], scores[:, 0, success]
