"""Rewards and successes of generated episodes, read off their frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from streamdit_gym.actions import action_numbers
from streamdit_gym.data.rewards import task_rewards
from streamdit_gym.definition import AnyTask, EnvironmentTask, Task, WorldSpec
from streamdit_gym.errors import ArgumentError
from streamdit_gym.model.precision import precision
from streamdit_gym.world import World

Successes = Bool[np.ndarray, "n s"]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What the steps of some episodes have earned.

    Attributes:
        rewards: of every task, sorted by name; none after a task's first success, where an
            environment's episode would have ended.
        successes: whether the task that counts was done, or over, after each step.
    """

    rewards: Float[np.ndarray, "n s k"]
    successes: Successes


@dataclass(frozen=True, kw_only=True)
class OwnOutcomes:
    """The environment's own rewards, and the probability that a step ended the episode."""

    rewards: Float[np.ndarray, "n s"]
    ends: Float[np.ndarray, "n s"]


def outcomes_of(
    world: World,
    task: str,
    latents: Float[Tensor, "n f c g g"],
    actions: np.ndarray,
    scores: Float[np.ndarray, "n f m"],
    rng: np.random.Generator,
) -> Outcomes:
    """Return what episodes have earned.

    Args:
        world: reads rewards and ends of transitions.
        task: name of the task whose successes count; empty: none.
        latents: of all frames.
        actions: of all steps, (n, s) or (n, s, d).
        scores: of all frames.
        rng: of ends that are a matter of chance.

    Raises:
        ArgumentError: if the task's reward is the environment's own, and the world has no readout.
    """
    spec = world.spec
    own = _own_outcomes(world, spec.tasks.get(task), latents, actions)
    rewards = task_rewards(spec, scores[:, :-1], scores[:, 1:], own.rewards)
    successes = np.zeros(rewards.shape, dtype=bool)
    chances = rng.random(own.ends.shape)
    for column, name in enumerate(sorted(spec.tasks)):
        successes[:, :, column] = _successes(spec, spec.tasks[name], scores, own, chances)
    counted = np.zeros(own.rewards.shape, dtype=bool)
    if task:
        counted = successes[:, :, sorted(spec.tasks).index(task)]
    return Outcomes(rewards=until_success(rewards, successes), successes=counted)


def until_success(
    rewards: Float[np.ndarray, "n s k"], successes: Bool[np.ndarray, "n s k"]
) -> Float[np.ndarray, "n s k"]:
    """Return every task's rewards up to its first success, and zeros after it.

    There an environment's episode would have ended.
    """
    rewards = rewards.copy()
    was_done = np.logical_or.accumulate(successes, axis=1)[:, :-1]
    rewards[:, 1:][was_done] = 0
    return rewards


def _successes(
    spec: WorldSpec,
    task: AnyTask,
    scores: Float[np.ndarray, "n f m"],
    own: OwnOutcomes,
    chances: Float[np.ndarray, "n s"],
) -> Successes:
    """Return after which steps a task is done."""
    is_done: Successes
    if isinstance(task, Task):
        is_done = scores[:, 1:, spec.score_names.index(task.success)] > task.threshold
    elif task.draws_ends:
        is_done = chances < own.ends
    else:
        is_done = own.ends > task.threshold
    return is_done


@torch.no_grad()
def _own_outcomes(
    world: World, task: Any, latents: Float[Tensor, "n f c g g"], actions: np.ndarray
) -> OwnOutcomes:
    """Return the environment's own outcomes; zeros where no readout tells them."""
    num_rows, num_frames = latents.shape[:2]
    rewards = np.zeros((num_rows, num_frames - 1), dtype=np.float32)
    ends = np.zeros_like(rewards)
    if world.transitions is None:
        if isinstance(task, EnvironmentTask):
            raise ArgumentError(
                "this world cannot tell the environment's own reward",
                given=world.spec.name,
                allowed="a bundle with a readout of transitions, or another task",
                remedy="train the world again: its task needs the stage of transitions",
            )
        return OwnOutcomes(rewards=rewards, ends=ends)
    numbers = torch.from_numpy(action_numbers(world.spec.actions, actions)).to(latents.device)
    for step in range(num_frames - 1):
        with precision(world.device, False):
            reward, end = world.transitions(
                latents[:, step], latents[:, step + 1], numbers[:, step]
            )
        rewards[:, step] = reward.float().cpu().numpy()
        ends[:, step] = end.sigmoid().float().cpu().numpy()
    return OwnOutcomes(rewards=rewards, ends=ends)
