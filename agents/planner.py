"""A planner: model-predictive control by the cross-entropy method, inside the world model.

From the newest frames, streams branch into one batch of candidate futures, each with its own
actions. An objective says how good they are, and the candidates of the next round are drawn like
the best ones. Nothing is learned beforehand, so a planner shows what the world knows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import InitVar, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from streamdit_gym.actions import Menu
from streamdit_gym.agents.plan_objectives import Futures, Objective, task_objective
from streamdit_gym.agents.plan_proposals import Candidates, first_proposals
from streamdit_gym.checks import check_fields
from streamdit_gym.errors import ArgumentError, ShapeError
from streamdit_gym.evaluate.candidate import CPU_BATCH
from streamdit_gym.presets import partition_for
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.text.prompt_protocol import PromptRow
from streamdit_gym.world import World

MAX_COUNT = 10**6
GPU_BATCH = 4096  # streams at once


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
    actions: Shaped[np.ndarray, "n k *a"]
    plans: list[list[Any]]


class Planner:
    """Plans with a world; `predict` is called like that of a recurrent Stable-Baselines3 policy.

    Args:
        world: the world model.
        objective: name of one of its tasks, or what else plans are for.
        planning: how far and how wide.
        seed: of the candidates and of the world's noise.
        autocast: run the transformer in bfloat16.

    Raises:
        UnknownNameError: if the world has no such task.
        ArgumentError: if the world cannot read the task's reward.
    """

    def __init__(
        self,
        world: World,
        objective: str | Objective,
        planning: Planning | None = None,
        *,
        seed: int | list[int] = 0,
        autocast: bool = False,
    ) -> None:
        self.world = world
        self.planning = planning or Planning()
        if isinstance(objective, str):
            objective = task_objective(world, objective, self.planning.gamma)
        self.objective = objective
        partition = partition_for(world, "reactive")
        self.engine = Engine(world.model, world.prompts, partition, autocast=autocast)
        self.rng = np.random.default_rng(seed)
        actions = world.spec.actions
        is_menu = isinstance(actions, Menu)
        self._menu_prompts = world.action_prompts(np.arange(len(actions))) if is_menu else None

    def predict(
        self,
        observation: UInt8[np.ndarray, "n h w 3"],
        state: PlannerState | None = None,
        episode_start: Bool[np.ndarray, " n"] | None = None,
        deterministic: bool = True,
    ) -> tuple[Shaped[np.ndarray, "n ..."], PlannerState]:
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
        idle = self.world.spec.actions.idle
        if state is None:
            return PlannerState(
                frames=np.repeat(frames[:, None], num_frames, axis=1),
                actions=np.repeat(idle[None, None], num_frames, axis=1).repeat(len(frames), axis=0),
                plans=[[] for _ in frames],
            )
        earlier_frames = state.frames[:, 1:]
        history = np.concatenate([earlier_frames, frames[:, None]], axis=1)
        actions = state.actions.copy()
        plans = list(state.plans)
        for row in np.flatnonzero(is_new):
            history[row] = frames[row]
            actions[row] = idle
            plans[row] = []
        return PlannerState(frames=history, actions=actions, plans=plans)

    def _plan_where_none(self, state: PlannerState) -> None:
        """Plan anew for the environments that have played their plan."""
        rows = [row for row, plan in enumerate(state.plans) if not plan]
        if not rows:
            return
        plans = self.plan(state.frames[rows], state.actions[rows])
        for row, plan in zip(rows, plans, strict=True):
            state.plans[row] = list(plan[: self.planning.replan_every])

    @torch.no_grad()
    def plan(
        self, frames: UInt8[np.ndarray, "n k h w 3"], actions: Shaped[np.ndarray, "n k *a"]
    ) -> Shaped[np.ndarray, "n horizon *a"]:
        """Return the best plan of all rounds for every environment.

        Args:
            frames: the newest frames, oldest first.
            actions: the action that led to each of them.
        """
        planning = self.planning
        count = len(frames)
        pixels = torch.from_numpy(frames).to(self.world.device)
        latents = self.world.codec.encode(pixels)
        language = self.world.spec.actions
        num_parts = -(-planning.horizon // planning.hold)
        proposals = first_proposals(language, count, num_parts, planning.uniform_share)
        best_plans = np.zeros((count, planning.horizon, *language.shape), dtype=language.dtype)
        best_returns = np.full(count, -np.inf)
        rows = np.arange(count)
        for _ in range(planning.iterations):
            candidates = proposals.draw(self.rng, planning.candidates)
            plans = candidates.repeat(planning.hold, axis=2)[:, :, : planning.horizon]
            returns = self.returns(latents, actions, plans)
            ranking = returns.argsort(axis=1)[:, ::-1]
            best = ranking[:, 0]
            is_better = returns[rows, best] > best_returns
            best_plans[is_better] = plans[rows, best][is_better]
            best_returns = np.maximum(best_returns, returns[rows, best])
            elites = ranking[:, : planning.elites]
            proposals.fit(candidates[rows[:, None], elites])
        return best_plans

    def returns(
        self,
        latents: Float[Tensor, "n k c h w"],
        actions: Shaped[np.ndarray, "n k *a"],
        plans: Candidates,
    ) -> Float[np.ndarray, "n m"]:
        """Return the objective's value of every plan.

        Args:
            latents: the newest frames.
            actions: the action that led to each of them.
            plans: m plans for each.
        """
        count, num_plans = plans.shape[:2]
        copies = np.arange(count).repeat(num_plans)
        flat_plans = plans.reshape(count * num_plans, *plans.shape[2:])
        seeds = self.rng.integers(2**63, size=len(copies))
        batch = CPU_BATCH if self.world.device.type == "cpu" else GPU_BATCH
        values = []
        for start in range(0, len(copies), batch):
            part = slice(start, start + batch)
            past = latents[torch.from_numpy(copies[part])]
            steps = self._imagine(past, actions[copies[part]], flat_plans[part], seeds[part])
            futures = Futures(newest=past[:, -1], steps=steps)
            values.append(self.objective.values(futures))
        return torch.cat(values).reshape(count, num_plans).cpu().numpy()

    def _imagine(
        self,
        latents: Float[Tensor, "f k c h w"],
        actions: Shaped[np.ndarray, "f k *a"],
        plans: Shaped[np.ndarray, "f horizon *a"],
        seeds: Int[np.ndarray, " f"],
    ) -> Iterator[tuple[PromptRow, Float[Tensor, "f c h w"]]]:
        """Yield the prompts and the frame of every step of plans, each with noise of its own."""
        past = torch.stack([self._prompts(row) for row in actions])
        session = self.engine.start(latents, past, Noise.seeded(seeds.tolist()))
        for step in range(plans.shape[1]):
            prompts = self._prompts(plans[:, step])
            frame = self.engine.tick(session, prompts)
            yield prompts, frame[:, 0]

    def _prompts(self, actions: Shaped[np.ndarray, "f ..."]) -> PromptRow:
        """Return the prompts of actions."""
        if self._menu_prompts is None:
            return self.world.action_prompts(actions)
        return self._menu_prompts[torch.from_numpy(actions.astype(np.int64))]
