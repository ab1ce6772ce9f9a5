"""What plans are for: a task's reward, or a goal that a picture shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from streamdit_gym.definition import EnvironmentTask, Task
from streamdit_gym.envs.transition_reader import TransitionReader
from streamdit_gym.errors import ShapeError, UnknownNameError
from streamdit_gym.text.prompt_protocol import PromptRow
from streamdit_gym.world import World

Latents = Float[Tensor, "f c h w"]
Values = Float[Tensor, " f"]


@dataclass(frozen=True, kw_only=True)
class Futures:
    """Futures under way.

    Attributes:
        newest: latents of the real frame that each begins after.
        steps: of every step, the prompts and the latents of the frame that follows.
    """

    newest: Latents
    steps: Iterator[tuple[PromptRow, Latents]]


class Objective(Protocol):
    """Says how good futures are."""

    def values(self, futures: Futures) -> Values:
        """Return a value of every future; more is better."""


def task_objective(world: World, task: str, gamma: float) -> Objective:
    """Return the objective that is a task's reward.

    Args:
        world: the world.
        task: one of its tasks.
        gamma: discount.

    Raises:
        UnknownNameError: if the world has no such task.
        ArgumentError: if the reward is the environment's own, and the world cannot read it.
    """
    if task not in world.spec.tasks:
        raise UnknownNameError("task", task, world.spec.tasks)
    if isinstance(world.spec.tasks[task], Task):
        return PotentialReturn(world, world.spec.potential_task(task), gamma)
    return EnvironmentReturn(world, task, gamma)


class PotentialReturn:
    """The discounted reward of a task with a potential, up to its first success.

    Args:
        world: its readout tells the potential.
        task: the task.
        gamma: discount.
    """

    def __init__(self, world: World, task: Task, gamma: float) -> None:
        self.world = world
        self.task = task
        self.gamma = gamma

    def values(self, futures: Futures) -> Values:
        """See `Objective.values`."""
        previous_potential, _ = self._task_scores(futures.newest)
        total = torch.zeros_like(previous_potential)
        weight = torch.ones_like(total)
        for _, frame in futures.steps:
            potential, success = self._task_scores(frame)
            gain = potential - previous_potential
            total += weight * self.task.reward(gain, success)
            goes_on = success <= self.task.threshold
            weight = weight * self.gamma * goes_on
            previous_potential = potential
        return total

    def _task_scores(self, frame: Latents) -> tuple[Values, Values]:
        """Return the task's potential and success probability in a frame of every future."""
        _, scores = self.world.readout(frame[:, None])
        names = self.world.spec.score_names
        potential = names.index(self.task.potential)
        success = names.index(self.task.success)
        return scores[:, 0, potential], scores[:, 0, success]


class EnvironmentReturn:
    """The discounted reward that the environment itself gives, up to its end.

    Args:
        world: its readout of transitions tells rewards and ends.
        task: the task with the environment's own reward.
        gamma: discount.
    """

    def __init__(self, world: World, task: str, gamma: float) -> None:
        self.reader = TransitionReader(world)
        own_task = world.spec.tasks[task]
        assert isinstance(own_task, EnvironmentTask)
        self.task = own_task
        self.gamma = gamma

    def values(self, futures: Futures) -> Values:
        """See `Objective.values`."""
        before = futures.newest
        total = torch.zeros(len(before), device=before.device)
        weight = torch.ones_like(total)
        for prompts, frame in futures.steps:
            rewards, ends = self.reader.read(before, frame, prompts)
            total += weight * rewards
            goes_on = 1 - ends if self.task.draws_ends else ends < self.task.threshold
            weight = weight * self.gamma * goes_on
            before = frame
        return total


class GoalDistance:
    """How near the last frame's latents are to those of a goal: minus the mean squared distance.

    Args:
        world: its autoencoder makes the latents.
        goal: a frame that shows the goal.

    Raises:
        ShapeError: if it is no frame of the world.
    """

    def __init__(self, world: World, goal: UInt8[np.ndarray, "h w 3"]) -> None:
        if goal.shape != world.spec.frame_shape or goal.dtype != np.uint8:
            raise ShapeError(
                "a goal is a frame",
                given=f"{goal.shape} {goal.dtype}",
                allowed=f"{world.spec.frame_shape} uint8",
                remedy="resize the picture; RGB, 0 to 255",
            )
        pixels = torch.from_numpy(goal)[None, None].to(world.device)
        self.goal = world.codec.encode(pixels)[0, 0]

    def values(self, futures: Futures) -> Values:
        """See `Objective.values`."""
        frame = futures.newest
        for _, latents in futures.steps:
            frame = latents
        distance = (frame - self.goal).square()
        return -distance.mean((1, 2, 3))
