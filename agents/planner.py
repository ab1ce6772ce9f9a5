"""A planner: look into many futures of the world, and begin the best one.

Takes: frames.  Gives: menu actions.  Knows nothing of: training, simulators; it plays anything
    whose frames it is shown.

Model-predictive control by the cross-entropy method: from the frames seen last, streams branch into
one batch of candidate futures, each with its own actions; the world's own reward head scores them;
the candidates of the next round are drawn like the best ones. Nothing is learned beforehand, so a
planner shows what the world knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from streamdit_gym.agents.scores import Player
from streamdit_gym.errors import ShapeError, UnknownNameError
from streamdit_gym.presets import PARTITIONS
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.world import World


@dataclass(frozen=True, kw_only=True)
class Planning:
    """How far and how wide to look.

    Attributes:
        horizon: frames to look ahead.
        hold: frames that a drawn action is held.
        candidates: futures per environment and round.
        rounds: rounds of drawing.
        elites: how many of a round's best futures the next round is drawn like.
        spread: share of the actions that are drawn evenly all the same.
        play: frames of the best plan to play before planning anew.
        gamma: discount.
    """

    horizon: int = 12
    hold: int = 2
    candidates: int = 24
    rounds: int = 2
    elites: int = 6
    spread: float = 0.2
    play: int = 6
    gamma: float = 0.97

    def __post_init__(self) -> None:
        if not (
            1 <= self.play <= self.horizon
            and 1 <= self.elites <= self.candidates
            and self.rounds >= 1
            and self.hold >= 1
        ):
            raise ShapeError(
                "a plan that cannot be",
                given=f"{self}",
                allowed="1 <= play <= horizon, 1 <= elites <= candidates, rounds and hold >= 1",
                remedy="leave the settings out",
            )


@dataclass
class Seen:
    """What a planner remembers of its environments: the last frames, the actions between them,
    what is left of its plans.
    """

    frames: UInt8[np.ndarray, "n k h w 3"]
    actions: Int[np.ndarray, "n k"]
    plans: list[list[int]]


class Planner:
    """Plans with a world; `predict` is called like that of a recurrent Stable-Baselines3 policy.

    Args:
        world: the world to look into.
        task: one of its tasks.
        planning: how far and how wide.
        seed: of the candidates and of the world's noise.
        autocast: run the transformer in bfloat16.

    Raises:
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
        if task not in world.spec.tasks:
            raise UnknownNameError("task", task, world.spec.tasks)
        self.world, self.task, self.planning = world, world.spec.tasks[task], planning or Planning()
        self.engine = Engine(world.model, world.table, PARTITIONS["reactive"], autocast=autocast)
        self.rows = world.table.rows([phrases[0] for phrases in world.spec.menu])
        self.rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: UInt8[np.ndarray, "n h w 3"],
        state: Seen | None = None,
        episode_start: Bool[np.ndarray, " n"] | None = None,
        deterministic: bool = True,
    ) -> tuple[Int[np.ndarray, " n"], Seen]:
        """Return an action for every environment, and what to hand in at the next call.

        Args:
            observation: the newest frame of every environment, uint8.
            state: what the last call returned; None at the first.
            episode_start: which environments have begun a new episode with this frame.
            deterministic: as in Stable-Baselines3; a planner knows one way only.
        """
        frames, size = np.asarray(observation), self.world.spec.size
        if frames.ndim != 4 or frames.shape[1:] != (size, size, 3) or frames.dtype != np.uint8:
            raise ShapeError(
                "a planner looks at frames",
                given=f"{frames.shape} {frames.dtype}",
                allowed=f"(n, {size}, {size}, 3) uint8",
                remedy="give it the environment's frames, not features",
            )
        n, kept = len(frames), self.engine.partition.references + 1
        fresh = np.ones(n, dtype=bool) if state is None else np.zeros(n, dtype=bool)
        if episode_start is not None:
            fresh |= np.asarray(episode_start, dtype=bool)
        if state is None:
            state = Seen(
                frames=np.repeat(frames[:, None], kept, 1),
                actions=np.zeros((n, kept), dtype=np.int64),
                plans=[[] for _ in range(n)],
            )
        seen = Seen(
            frames=np.concatenate([state.frames[:, 1:], frames[:, None]], 1),
            actions=state.actions.copy(),
            plans=list(state.plans),
        )
        for row in map(int, np.flatnonzero(fresh)):
            seen.frames[row], seen.actions[row], seen.plans[row] = frames[row], 0, []
        idle = [row for row in range(n) if not seen.plans[row]]
        if idle:
            for row, plan in zip(
                idle, self.plan(seen.frames[idle], seen.actions[idle]), strict=True
            ):
                seen.plans[row] = [int(action) for action in plan[: self.planning.play]]
        chosen = np.array([plan[0] for plan in seen.plans])
        seen.plans = [plan[1:] for plan in seen.plans]
        seen.actions = np.concatenate([seen.actions[:, 1:], chosen[:, None]], 1)
        return chosen, seen

    @torch.no_grad()
    def plan(
        self, frames: UInt8[np.ndarray, "n k h w 3"], actions: Int[np.ndarray, "n k"]
    ) -> Int[np.ndarray, "n horizon"]:
        """Return the best plan found for every environment.

        Args:
            frames: the frames seen last, oldest first.
            actions: the action that led to each of them.
        """
        p, n, menu = self.planning, len(frames), len(self.rows)
        parts = -(-p.horizon // p.hold)
        latents = self.world.codec.encode(torch.from_numpy(frames).to(self.world.device))
        chance = np.full((n, parts, menu), 1 / menu)
        best, most = np.zeros((n, p.horizon), dtype=np.int64), np.full(n, -np.inf)
        for _ in range(p.rounds):
            drawn = (
                (self.rng.random((n, p.candidates, parts, 1)) > chance.cumsum(-1)[:, None])
                .sum(-1)
                .clip(max=menu - 1)
            )
            held = drawn.repeat(p.hold, axis=-1)[..., : p.horizon]
            returns = self.returns(latents, actions, held)
            order = returns.argsort(axis=1)[:, ::-1]
            for row in range(n):
                if returns[row, order[row, 0]] > most[row]:
                    best[row], most[row] = held[row, order[row, 0]], returns[row, order[row, 0]]
                counts = np.stack(
                    [
                        np.bincount(part, minlength=menu)
                        for part in drawn[row, order[row, : p.elites]].T
                    ]
                )
                chance[row] = (1 - p.spread) * counts / p.elites + p.spread / menu
        return best

    def returns(
        self,
        latents: Float[Tensor, "n k c h w"],
        actions: Int[np.ndarray, "n k"],
        plans: Int[np.ndarray, "n m horizon"],
    ) -> Float[np.ndarray, "n m"]:
        """Return the discounted reward that the world promises for every plan, up to its first
        success.

        Args:
            latents: the frames seen last.
            actions: the action that led to each of them.
            plans: m plans for each.
        """
        n, m, horizon = plans.shape
        copies = torch.arange(n).repeat_interleave(m)
        noise = Noise.seeded(self.rng.integers(2**63, size=n * m).tolist())
        session = self.engine.start(
            latents[copies], self.rows[torch.from_numpy(actions)][copies], noise
        )
        potential, success = (
            self.world.spec.score_names.index(name)
            for name in (self.task.potential, self.task.success)
        )
        before = self.world.readout(latents[:, -1:])[1][copies, 0]
        total, running = (
            torch.zeros(n * m, device=before.device),
            torch.ones(n * m, device=before.device),
        )
        for step in range(horizon):
            clean = self.engine.tick(
                session, self.rows[torch.from_numpy(plans[..., step].reshape(-1))]
            )
            after = self.world.readout(clean)[1][:, 0]
            total += running * self.task.reward(
                after[:, potential] - before[:, potential], after[:, success]
            )
            running = running * self.planning.gamma * (after[:, success] <= self.task.threshold)
            before = after
        return total.reshape(n, m).cpu().numpy()


def planner_player(planner: Planner) -> Player:
    """Return a player that does what a planner plans; one per set of environments,
    since it remembers their frames.
    """
    seen: Seen | None = None

    def act(observation: np.ndarray, starts: np.ndarray) -> np.ndarray:
        nonlocal seen
        actions, seen = planner.predict(observation, seen, starts)
        return actions

    return act
