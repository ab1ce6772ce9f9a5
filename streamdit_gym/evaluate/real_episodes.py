"""Where real episodes come from: a reference simulator, or a data set's recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from tqdm import tqdm

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.processes import map_in_processes
from streamdit_gym.data.recorder import RecordConfig, record_shard
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import WorldDefinition

# shards of a simulator
HELD_OUT_SHARD, TRAINING_SHARD, SHORT_SHARD, CHECK_SHARD = 0, 1, 2, 3
CHECK_EPISODES, CHECK_STEPS = 8, 32  # takes about a second
MIN_PIECE_STEPS = 8  # of an episode that is cut
MAX_TRAINING_BYTES = 600_000_000  # frames in memory
STEP_ARRAYS = ("actions", "prompts", "rewards")
FRAME_ARRAYS = ("frames", "states", "scores")


@dataclass(frozen=True, kw_only=True)
class HeldOutPlan:
    """How many held-out episodes there are to be.

    Attributes:
        episodes: how many.
        steps: of each at most.
        short_episodes: how many of the short ones.
        short_steps: of each.
        seed: of a simulator's episodes.
        workers: processes for the reference simulator.
    """

    episodes: int
    steps: int
    short_episodes: int
    short_steps: int
    seed: int
    workers: int = 1


class RealEpisodes(Protocol):
    """A source of real episodes."""

    @property
    def name(self) -> str:
        """What tells evaluator models of this source from others; empty for a simulator."""

    def training(self, episodes: int, steps: int, seed: int) -> Shard:
        """Return episodes to train evaluator models on; recordings may be fewer and shorter."""

    def check(self, seed: int) -> Shard:
        """Return other episodes, to check evaluator models on."""

    def held_out(self, plan: HeldOutPlan) -> tuple[Shard, Shard]:
        """Return the episodes that worlds are measured on, and many short ones."""


@dataclass(frozen=True, kw_only=True)
class SimulatedEpisodes:
    """Episodes of a world's simulator, recorded with seeds far from training's."""

    reference: WorldDefinition

    @property
    def name(self) -> str:
        """See `RealEpisodes.name`."""
        return ""

    def training(self, episodes: int, steps: int, seed: int) -> Shard:
        """See `RealEpisodes.training`."""
        plan = RecordConfig(episodes=episodes, steps=steps, seed=seed)
        return record_shard(self.reference, plan, TRAINING_SHARD)

    def check(self, seed: int) -> Shard:
        """See `RealEpisodes.check`."""
        plan = RecordConfig(episodes=CHECK_EPISODES, steps=CHECK_STEPS, seed=seed)
        return record_shard(self.reference, plan, CHECK_SHARD)

    def held_out(self, plan: HeldOutPlan) -> tuple[Shard, Shard]:
        """See `RealEpisodes.held_out`."""
        long_plan = RecordConfig(episodes=plan.episodes, steps=plan.steps, seed=plan.seed)
        short_plan = replace(long_plan, episodes=plan.short_episodes, steps=plan.short_steps)
        jobs = [
            _RecordingJob(definition=self.reference, plan=long_plan, shard=HELD_OUT_SHARD),
            _RecordingJob(definition=self.reference, plan=short_plan, shard=SHORT_SHARD),
        ]
        bar = tqdm(total=len(jobs), desc="held-out episodes", leave=False)
        long, short = map_in_processes(_record, jobs, plan.workers, bar)
        return long, short


@dataclass(frozen=True, kw_only=True)
class RecordedEpisodes:
    """Episodes of a data set: its last shards, which no world is trained on, are held out."""

    dataset: Dataset

    @property
    def name(self) -> str:
        """See `RealEpisodes.name`."""
        return f"recorded-{self.dataset.folder.name}-{len(self.dataset)}"

    def training(self, episodes: int, steps: int, seed: int) -> Shard:
        """See `RealEpisodes.training`; a data set has what it has, as long as it is."""
        shards: list[Shard] = []
        num_frames = 0
        num_bytes = 0
        for position in range(len(self.dataset) - self.dataset.num_held_out_shards):
            shard = self.dataset.shard(position)
            shards.append(shard)
            num_frames += int(shard.lengths.sum())
            num_bytes += shard.frames.nbytes
            if num_frames >= episodes * steps or num_bytes >= MAX_TRAINING_BYTES:
                break
        # of a single shard there is nothing to hold out
        return joined(shards or [self.dataset.shard(0)])

    def check(self, seed: int) -> Shard:
        """See `RealEpisodes.check`."""
        return cut(self._held_out_shard(), CHECK_STEPS, CHECK_EPISODES)

    def held_out(self, plan: HeldOutPlan) -> tuple[Shard, Shard]:
        """See `RealEpisodes.held_out`; long episodes are cut into pieces."""
        shard = self._held_out_shard()
        long = cut(shard, plan.steps, plan.episodes)
        return long, cut(shard, plan.short_steps, plan.short_episodes)

    def _held_out_shard(self) -> Shard:
        first = len(self.dataset) - self.dataset.num_held_out_shards
        return joined([self.dataset.shard(i) for i in range(first, len(self.dataset))])


@dataclass(frozen=True, kw_only=True)
class _RecordingJob:
    definition: WorldDefinition
    plan: RecordConfig
    shard: int


def _record(job: _RecordingJob) -> Shard:
    return record_shard(job.definition, job.plan, job.shard)


def joined(shards: Sequence[Shard]) -> Shard:
    """Return the episodes of several shards of one data set."""
    names = (*FRAME_ARRAYS, *STEP_ARRAYS, "lengths", "terminated")
    arrays = {name: np.concatenate([getattr(shard, name) for shard in shards]) for name in names}
    return Shard(**arrays)


def cut(shard: Shard, steps: int, count: int) -> Shard:
    """Return pieces of episodes: first all their beginnings, then what follows.

    Args:
        shard: the episodes.
        steps: of a piece at most.
        count: how many pieces at most.
    """
    steps = min(steps, int(shard.lengths.max()))
    starts = [(start, e) for e, n in enumerate(shard.lengths) for start in range(0, n, steps)]
    is_long = [shard.lengths[e] - start >= MIN_PIECE_STEPS or start == 0 for start, e in starts]
    pieces = sorted(piece for piece, kept in zip(starts, is_long, strict=True) if kept)[:count]
    first, episodes = np.array(pieces).T
    lengths = shard.lengths[episodes]
    at_frame = np.minimum(first[:, None] + np.arange(steps + 1), lengths[:, None])
    at_step = np.minimum(first[:, None] + np.arange(steps), lengths[:, None] - 1)
    rows = episodes[:, None]
    arrays = {name: getattr(shard, name)[rows, at_frame] for name in FRAME_ARRAYS}
    arrays |= {name: getattr(shard, name)[rows, at_step] for name in STEP_ARRAYS}
    return Shard(
        **arrays,
        lengths=np.minimum(lengths - first, steps).astype(np.int32),
        terminated=shard.terminated[episodes] & (first + steps >= lengths),
    )
