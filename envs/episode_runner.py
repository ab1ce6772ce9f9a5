"""Starts the episodes of a batch and moves them by a frame: rewards, endings, faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.definition import Task
from streamdit_gym.envs.backend import Backend, Frames, Reading
from streamdit_gym.envs.episodes import Episodes
from streamdit_gym.envs.faults import find_faults, without


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
        task: the task that is rewarded.
        horizon: steps until truncation.
    """

    def __init__(self, backend: Backend, episodes: Episodes, task: Task, horizon: int) -> None:
        names = backend.spec.score_names
        self._backend = backend
        self._episodes = episodes
        self._task = task
        self._horizon = horizon
        self._potential = names.index(task.potential)
        self._success = names.index(task.success)
        self.measures_self_consistency = False

    def start(self, rows: Int[np.ndarray, " r"], init: Frames | None) -> None:
        """Start the episodes of some rows, from the caller's frames or the world's own."""
        episodes = self._episodes
        rngs = [episodes.rngs[row] for row in rows]
        reading = self._backend.reset(rows.tolist(), rngs, init)
        index = torch.from_numpy(rows).to(reading.observed.device)
        fault = find_faults(self._backend.finite()[index], reading.scores).cpu().numpy()
        if fault.any():  # the world is broken: there is nothing to show
            observed = without(fault, reading.observed, 0)
            reading = Reading(observed, without(fault, reading.scores, 0))
        episodes.fault[rows] = fault
        episodes.start(rows, reading, self._backend.spec.menu[0][0])

    def step(self, prompts: list[str], menu: list[int] | None) -> Outcome:
        """Move every row by one frame.

        A row with a number that is not finite is truncated, without a reward, and keeps its last
        finite frame.

        Args:
            prompts: every row's prompt.
            menu: every row's menu action; None if prompts are free text.
        """
        episodes = self._episodes
        last = Reading(episodes.observed, episodes.scores)
        episodes.advance(self._backend.step(prompts, menu), prompts, menu)
        rewards = self._rewards(last.scores)
        is_finite = self._backend.finite() & self._is_self_consistency_finite()
        fault = find_faults(is_finite, episodes.scores, rewards)
        success = episodes.scores[:, self._success]
        # both in one copy: a GPU is waited for once
        flags = torch.stack([success > self._task.threshold, fault]).cpu().numpy()
        is_success, episodes.fault = flags
        terminated = is_success & ~episodes.fault
        truncated = (episodes.steps >= self._horizon) & ~terminated | episodes.fault
        if episodes.fault.any():
            rewards = without(episodes.fault, rewards, 0.0)
            self._keep_last_where_faulty(last)
        return Outcome(rewards, terminated, truncated)

    def potential_and_success(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Return the task's potential in every row, and the probability that it is done."""
        scores = self._episodes.scores.cpu().numpy().astype(np.float64)
        return scores[:, self._potential].copy(), scores[:, self._success].copy()

    def _rewards(self, last_scores: Float[Tensor, "n m"]) -> Float[Tensor, " n"]:
        scores = self._episodes.scores
        gained = scores[:, self._potential] - last_scores[:, self._potential]
        rewards: Tensor = self._task.reward(gained, scores[:, self._success])
        return rewards.to(torch.float32)  # a bonus has torch's default dtype

    def _is_self_consistency_finite(self) -> Bool[Tensor, " n"] | bool:
        """Measure the self-consistency error, if asked to, and return where it is finite."""
        if not self.measures_self_consistency:
            return True
        error = self._backend.self_consistency_error()
        self._episodes.self_consistency_error = error.cpu().numpy().astype(np.float64)
        return error.isfinite()

    def _keep_last_where_faulty(self, last: Reading) -> None:
        episodes = self._episodes
        episodes.observed = without(episodes.fault, episodes.observed, last.observed)
        episodes.scores = without(episodes.fault, episodes.scores, last.scores)
        episodes.self_consistency_error[episodes.fault] = 0
