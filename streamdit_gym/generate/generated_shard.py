"""A shard as it was generated: its arrays, and a row of the manifest for every episode."""

from __future__ import annotations

from dataclasses import dataclass

from streamdit_gym.data.shard import Shard


@dataclass(frozen=True, kw_only=True)
class EpisodeRow:
    """An episode's entries in the manifest.

    Attributes:
        shard: the shard's number.
        batch_row: the episode's row in the shard as it was generated.
        seed: the episode's number in the data set.
        policy: who acted.
        task: whose reward counts.
        prompts: one per step.
        actions_resolved: whether some prompt is no menu entry, so that its action was inferred.
        world_fault: whether a frame was not finite.
        successes: per step, whether the task was done.
        quality: metrics, see `METRICS`.
    """

    shard: int
    batch_row: int
    seed: int
    policy: str
    task: str
    prompts: list[str]
    actions_resolved: bool
    world_fault: bool
    successes: list[bool]
    quality: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class GeneratedShard:
    """A shard's arrays, and the manifest's entries of its episodes."""

    shard: Shard
    rows: list[EpisodeRow]
