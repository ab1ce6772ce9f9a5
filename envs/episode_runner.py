"""Starts the episodes of a batch and moves them by a frame: rewards, endings, faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.definition import AnyTask, Task
from streamdit_gym.envs.backend import Backend, Init, Reading
from streamdit_gym.envs.episodes import Episodes
from streamdit_gym.envs.faults import find_faults, where_rows


@dataclass(frozen=True)
class Outcome:
    """What a step has earned and ended, one number per row."""

    rewards: Float[Tensor, " n"]
    terminated: Bool[np.ndarray, " n"]
    truncated: Bool[np.ndarray, " n"]


class EpisodeRunner:
    """Runs the episodes of a batch of environments.

    Args:
        backend: makes the frames and scores.
        episodes: the rows' own numbers, which it changes.
        task: the task that is rewarded; None: rewards are 0 and no step ends an episode.
        horizon: steps until truncation.
    """

    def __init__(
        self, backend: Backend, episodes: Episodes, task: AnyTask | None, horizon: int
    ) -> None:
        names = backend.spec.score_names
        self._backend = backend
        self._episodes = episodes
        self._task = task
        self._horizon = horizon
        if isinstance(task, Task):
            self._potential = names.index(task.potential)
            self._success = names.index(task.success)
        self.measures_self_consistency = False

    def start(self, rows: Int[np.ndarray, " r"], init: Init | None) -> None:
        """Start the episodes of some rows: without `init` from real frames of the world."""
        backend = self._backend
        episodes = self._episodes
        rngs = [episodes.rngs[row] for row in rows]
        reading = backend.reset(rows.tolist(), rngs, init)
        observed = reading.observed
        scores = reading.scores
        index = torch.from_numpy(rows).to(backend.device)
        is_finite = backend.finite()[index]
        fault = find_faults(is_finite, scores)
        episodes.fault[rows] = fault.cpu().numpy()
        if episodes.fault[rows].any():  # the world is broken: there is nothing to show
            reading = Reading(where_rows(fault, observed, 0), where_rows(fault, scores, 0))
        language = backend.spec.actions
        episodes.start(rows, reading, language.prompt(language.idle))

    def step(self, prompts: list[str], actions: np.ndarray | None) -> Outcome:
        """Move every row by one frame.

        A row with a number that is not finite is truncated, without a reward, and keeps its last
        finite frame.

        Args:
            prompts: every row's prompt.
            actions: every row's action; None if prompts are free text.
        """
        episodes = self._episodes
        last = Reading(episodes.observed, episodes.scores)
        reading = self._backend.step(prompts, actions)
        episodes.advance(reading, prompts, actions)
        rewards, is_over = self._rewards_and_ends(last.scores, reading)
        is_finite = self._backend.finite()
        if self.measures_self_consistency:
            is_finite = is_finite & self._measure_self_consistency()
        has_fault = find_faults(is_finite, episodes.scores, rewards)
        # both in one copy: a GPU is waited for once
        flags = torch.stack([is_over, has_fault])
        over, fault = flags.cpu().numpy()
        episodes.fault = fault
        terminated = over & ~fault
        is_late = episodes.steps >= self._horizon
        truncated = is_late & ~terminated | fault
        if fault.any():
            rewards = where_rows(has_fault, rewards, 0.0)
            self._keep_last(last, has_fault)
        return Outcome(rewards, terminated, truncated)

    @property
    def has_potential(self) -> bool:
        """Whether the task has a potential and a success, not the environment's own reward."""
        return isinstance(self._task, Task)

    def potential_and_success(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Return the task's potential in every row, and the probability that it is done."""
        scores = self._episodes.scores
        columns = scores.cpu().numpy().astype(np.float64).T
        potential = columns[self._potential]
        success = columns[self._success]
        return potential.copy(), success.copy()

    def _rewards_and_ends(
        self, last_scores: Float[Tensor, "n m"], reading: Reading
    ) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
        """Return what a step has earned, and which episodes it ended."""
        task = self._task
        if isinstance(task, Task):
            success = self._episodes.scores[:, self._success]
            return self._potential_rewards(task, last_scores), success > task.threshold
        if task is None:
            rewards = torch.zeros(len(last_scores), dtype=torch.float32, device=last_scores.device)
            return rewards, rewards.bool()
        assert reading.rewards is not None
        assert reading.ends is not None
        return reading.rewards, reading.ends > task.threshold

    def _potential_rewards(
        self, task: Task, last_scores: Float[Tensor, "n m"]
    ) -> Float[Tensor, " n"]:
        scores = self._episodes.scores
        last_potential = last_scores[:, self._potential]
        gained = scores[:, self._potential] - last_potential
        success = scores[:, self._success]
        rewards: Tensor = task.reward(gained, success)
        return rewards.to(torch.float32)  # a bonus has torch's default dtype

    def _measure_self_consistency(self) -> Bool[Tensor, " n"]:
        """Measure the self-consistency error of every row, and return where it is finite."""
        error = self._backend.self_consistency_error()
        on_host = error.cpu().numpy()
        self._episodes.self_consistency_error = on_host.astype(np.float64)
        return error.isfinite()

    def _keep_last(self, last: Reading, fault: Bool[Tensor, " n"]) -> None:
        """Put the last observation and scores back where there is a fault."""
        episodes = self._episodes
        episodes.observed = where_rows(fault, episodes.observed, last.observed)
        episodes.scores = where_rows(fault, episodes.scores, last.scores)
        episodes.states = None
        episodes.self_consistency_error[episodes.fault] = 0
