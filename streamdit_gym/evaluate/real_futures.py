"""Many real futures of one start, under the same actions, by a simulator that reseeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from streamdit_gym.data.processes import map_in_processes
from streamdit_gym.data.random_actions import HeldExploration
from streamdit_gym.data.trial_episodes import simulator_of
from streamdit_gym.definition import (
    Action,
    HasOutcome,
    Reseeds,
    SavesState,
    Simulator,
    WorldDefinition,
)
from streamdit_gym.evaluate.candidate import Actions, Frames

CONTEXT_FRAMES = 5  # what a start shows; a ball behind a screen was seen before
TRIAL_FUTURES = 8  # of every start; if they are all alike the world is determined
# Last number of a seed, by what it is for; futures have theirs from the last one on.
START_SEED, ACTION_SEED, FUTURE_SEED = 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class FuturesPlan:
    """How many futures there are to be.

    Attributes:
        starts: how many.
        futures: of each start.
        frames: of each future.
    """

    starts: int = 16
    futures: int = 16
    frames: int = 24


@dataclass(frozen=True, kw_only=True)
class RealFutures:
    """Real futures of some starts.

    Attributes:
        context: the frames of each start, (s, c, h, w, 3).
        actions: those between the context's frames, then those of the futures, (s, c - 1 + f).
        frames: of every future, (s, n, f, h, w, 3).
        lengths: how many frames of a start's futures count: up to the first end of an episode.
    """

    context: Frames
    actions: Actions
    frames: np.ndarray
    lengths: Int[np.ndarray, " s"]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Some futures of one start.

    Attributes:
        definition: the world.
        seed: of the start; that of a future has the future's number as well.
        actions: between the context's frames, then those of the futures.
        futures: their numbers.
    """

    definition: WorldDefinition
    seed: tuple[int, int]
    actions: Sequence[Action]
    futures: range


@dataclass(frozen=True, kw_only=True)
class _Futures:
    """What a job returns: the context, futures (n, f, h, w, 3), and where the first one ends."""

    context: np.ndarray
    frames: np.ndarray
    length: int


def can_reseed(definition: WorldDefinition) -> bool:
    """Return whether a world's simulator shows many futures of one start."""
    if definition.make_simulator is None:
        return False
    simulator = definition.make_simulator()
    able = isinstance(simulator, SavesState) and isinstance(simulator, Reseeds)
    simulator.close()
    return able


def record_futures(
    definition: WorldDefinition, plan: FuturesPlan, seed: int, workers: int = 1
) -> RealFutures | None:
    """Record futures in a world's reference simulator.

    Args:
        definition: the world.
        plan: how many.
        seed: of starts, actions and futures.
        workers: processes for the simulator; the futures do not depend on it.

    Returns:
        None for a determined world: its simulator cannot reseed, or its first futures of every
        start are pixel for pixel the same.
    """
    if not can_reseed(definition):
        return None
    jobs = [
        _Job(
            definition=definition,
            seed=(seed, start),
            actions=_random_actions(definition, (seed, start), plan.frames),
            futures=range(min(TRIAL_FUTURES, plan.futures)),
        )
        for start in range(plan.starts)
    ]
    first = _map(jobs, workers)
    if not any(_differ(each.frames) for each in first):
        return None
    rest = []
    if plan.futures > TRIAL_FUTURES:
        others = range(TRIAL_FUTURES, plan.futures)
        rest = _map([replace(job, futures=others) for job in jobs], workers)
    parts = [first, rest] if rest else [first]
    of_starts = list(zip(*parts, strict=True))
    return RealFutures(
        context=np.stack([each.context for each in first]),
        actions=np.array([job.actions for job in jobs], dtype=definition.actions.dtype),
        frames=np.stack([np.concatenate([part.frames for part in each]) for each in of_starts]),
        lengths=np.array([min(part.length for part in each) for each in of_starts]),
    )


def _map(jobs: Sequence[_Job], workers: int) -> list[_Futures]:
    bar = tqdm(total=len(jobs), desc="real futures", unit="start", leave=False)
    return map_in_processes(play_futures, jobs, workers, bar)


def play_futures(job: _Job) -> _Futures:
    """Play some futures of one start in the reference simulator."""
    simulator = simulator_of(job.definition)
    assert isinstance(simulator, SavesState)
    assert isinstance(simulator, Reseeds)
    context, has_ended = _begin(simulator, job)
    actions = job.actions[CONTEXT_FRAMES - 1 :]
    if has_ended:
        simulator.close()
        still = np.stack([context[-1]] * len(actions))
        return _Futures(context=context, frames=np.stack([still] * len(job.futures)), length=0)
    saved = simulator.save()
    futures = []
    lengths = []
    for future in job.futures:
        simulator.restore(saved)
        simulator.reseed(np.random.default_rng((*job.seed, FUTURE_SEED + future)))
        frames, length = _play(simulator, actions)
        futures.append(frames)
        lengths.append(length)
    simulator.close()
    return _Futures(context=context, frames=np.stack(futures), length=min(lengths))


def _begin(simulator: Simulator, job: _Job) -> tuple[np.ndarray, bool]:
    """Return the context's frames, and whether the episode has ended in it."""
    rng = np.random.default_rng((*job.seed, START_SEED))
    first = simulator.reset(rng, _kind_of_start(job.definition, rng))
    frames, _ = _play(simulator, job.actions[: CONTEXT_FRAMES - 1])
    return np.concatenate([first[None], frames]), _ends(simulator)


def _play(simulator: Simulator, actions: Sequence[Action]) -> tuple[np.ndarray, int]:
    """Return the frames of one future, and how many there are before an end of the episode.

    After the end the last frame is repeated.
    """
    frames: list[np.ndarray] = []
    for action in actions:
        frames.append(simulator.step(action))
        if _ends(simulator):
            break
    length = len(frames)
    frames += [frames[-1]] * (len(actions) - length)
    return np.stack(frames), length


def _ends(simulator: Simulator) -> bool:
    return isinstance(simulator, HasOutcome) and simulator.outcome().terminated


def _kind_of_start(definition: WorldDefinition, rng: np.random.Generator) -> str:
    kinds = list(definition.starts)
    shares = np.array([definition.starts[kind] for kind in kinds])
    return kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]


def _random_actions(
    definition: WorldDefinition, seed: tuple[int, int], frames: int
) -> list[Action]:
    rng = np.random.default_rng((*seed, ACTION_SEED))
    exploration = HeldExploration(definition.actions)
    return [exploration.next(rng) for _ in range(CONTEXT_FRAMES - 1 + frames)]


def _differ(futures: np.ndarray) -> bool:
    return bool((futures[:1] != futures[1:]).any())
