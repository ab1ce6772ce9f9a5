"""A report of a data set: numbers, damaged shards, duplicates, and a contact sheet."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.formats import frame_format
from streamdit_gym.data.shard import Shard
from streamdit_gym.errors import DatasetError
from streamdit_gym.generate.quality import current_metrics
from streamdit_gym.generate.shard_record import ShardRecord, record_path, recorded_shards

REMEDY = "call generate again"
SHEET_FRAMES = 12  # per episode
SHEET_EPISODES = 16

Place = tuple[int, int]  # a shard's number, and the row in it


@dataclass(kw_only=True)
class DatasetReport:
    """What a data set holds.

    Attributes:
        world: its name.
        storage: the format of its frames.
        num_episodes: whole ones.
        num_frames: in them.
        actions: how often each menu action was taken; -1, in data sets of older versions: the
            prompt is no menu entry.
        num_phrases: different ones in the prompts.
        returns: per task, mean and deviation over episodes.
        quality: per metric, its median and 95th percentile over all generated episodes; empty for
            recorded data.
        num_dropped: generated episodes that were not kept.
        duplicates: pairs of places whose frames are equal.
        damage: shards that cannot be read, with the reason.
        sheet: some frames of some episodes.
    """

    world: str
    storage: str
    num_episodes: int = 0
    num_frames: int = 0
    actions: dict[int, int] = field(default_factory=dict)
    num_phrases: int = 0
    returns: dict[str, tuple[float, float]] = field(default_factory=dict)
    quality: dict[str, tuple[float, float]] = field(default_factory=dict)
    num_dropped: int = 0
    duplicates: list[tuple[Place, Place]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    sheet: UInt8[np.ndarray, "h w 3"] | None = None

    def lines(self) -> list[str]:
        """Return the report's text."""
        episodes = f"episodes   {self.num_episodes}, {self.num_frames} frames"
        if self.num_dropped:
            episodes += f"; {self.num_dropped} more were generated and not kept"
        total = max(1, sum(self.actions.values()))
        shares = []
        for action, count in sorted(self.actions.items()):
            percent = 100 * count / total
            shares.append(f"{action}: {percent:.1f} %")
        lines = [
            f"world      {self.world}, frames as {self.storage}",
            episodes,
            f"phrases    {self.num_phrases} different ones",
            "actions    " + "  ".join(shares),
        ]
        for task, (mean, deviation) in self.returns.items():
            lines.append(f"return     {task}: {mean:.2f}, deviation {deviation:.2f}")
        for name, (median, high) in self.quality.items():
            lines.append(f"quality    {name}: median {median:.3g}, 95 % below {high:.3g}")
        for first, second in self.duplicates:
            lines.append(f"duplicate  {_named(first)} and {_named(second)}")
        lines += [f"damaged    {text}" for text in self.damage or ["nothing"]]
        return lines


def _named(place: Place) -> str:
    shard, row = place
    return f"shard {shard} row {row}"


def inspect_dataset(folder: Path) -> DatasetReport:
    """Read every shard of a data set and report what is in it.

    Raises:
        DatasetError: if the folder is no data set.
    """
    dataset = Dataset(folder)
    report = DatasetReport(world=dataset.meta["world"], storage=dataset.meta.get("storage", "mkv"))
    is_generated = "generated" in dataset.meta
    damaged = _add_records(folder, report) if is_generated else set()
    contents = _Contents(dataset)
    for position, index in enumerate(tqdm(dataset.shards, desc="inspect", unit="shard")):
        if index in damaged:
            continue
        try:
            shard = dataset.shard(position)
        except DatasetError as error:
            text = f"shard {index}: {error.given}; {REMEDY}" if is_generated else str(error)
            report.damage.append(text.replace("\n", "; "))
            continue
        contents.add(shard, position, index)
    contents.write_to(report)
    return report


class _Contents:
    """What the shards hold, added up shard by shard."""

    def __init__(self, dataset: Dataset) -> None:
        self.tasks = dataset.meta["tasks"]
        self.is_small = len(dataset) < SHEET_EPISODES
        self.shards_per_strip = max(1, len(dataset) // SHEET_EPISODES)
        self.num_episodes = 0
        self.num_frames = 0
        self.actions: Counter[int] = Counter()
        self.phrases: set[int] = set()
        self.returns: list[np.ndarray] = []
        self.strips: list[np.ndarray] = []
        self.places: dict[bytes, Place] = {}  # by the digest of the frames
        self.duplicates: list[tuple[Place, Place]] = []

    def add(self, shard: Shard, position: int, index: int) -> None:
        """Add a shard."""
        frames = shard.frames
        num_episodes, num_frames = frames.shape[:2]
        self.num_episodes += num_episodes
        self.num_frames += num_episodes * num_frames
        actions = shard.actions.ravel()
        prompts = shard.prompts.ravel()
        self.actions.update(actions.tolist())
        self.phrases.update(prompts.tolist())
        self.returns.append(shard.rewards.sum(1))
        for row, episode in enumerate(frames):
            self._add_place(episode, (index, row))
        if self.is_small:
            self.strips += map(_strip, frames)
        elif position % self.shards_per_strip == 0:
            self.strips.append(_strip(frames[0]))

    def _add_place(self, frames: UInt8[np.ndarray, "f h w 3"], place: Place) -> None:
        digest = hashlib.sha256(frames.tobytes()).digest()
        first_place = self.places.setdefault(digest, place)
        if first_place != place:
            self.duplicates.append((first_place, place))

    def write_to(self, report: DatasetReport) -> None:
        """Write the sums into a report."""
        report.num_episodes = self.num_episodes
        report.num_frames = self.num_frames
        report.actions = dict(self.actions)
        report.num_phrases = len(self.phrases)
        report.duplicates = self.duplicates
        if self.returns:
            returns = np.concatenate(self.returns)
            for column, task in enumerate(self.tasks):
                of_task = returns[:, column]
                mean = float(of_task.mean())
                report.returns[task] = (mean, float(of_task.std()))
        if self.strips:
            report.sheet = np.concatenate(self.strips[:SHEET_EPISODES])


def _add_records(folder: Path, report: DatasetReport) -> set[int]:
    """Add what the shards' records say to a report, and return the numbers of damaged shards."""
    rows: list[dict[str, Any]] = []
    damaged = set()
    store = frame_format(report.storage)
    for index in range(1 + max(recorded_shards(folder), default=-1)):
        record = ShardRecord.read(folder, index)
        if record is None:
            name = record_path(folder, index).name
            report.damage.append(f"shard {index}: {name} is missing or cut; {REMEDY}")
            continue
        rows += record.rows
        damage = record.damage(folder, index, store)
        if damage:
            damaged.add(index)
            report.damage.append(f"shard {index}: {damage}; {REMEDY}")
    if not _is_finished(folder, rows):
        report.damage.append(f"the data set is not finished; {REMEDY}")
    report.num_dropped = sum(not row["kept"] for row in rows)
    _add_quality(rows, report)
    return damaged


def _add_quality(rows: list[dict[str, Any]], report: DatasetReport) -> None:
    metrics = [quality_of(row) for row in rows]
    for name in metrics[0] if metrics else ():
        values = [of_episode[name] for of_episode in metrics]
        median = np.median(values)
        high = np.quantile(values, 0.95)
        report.quality[name] = (float(median), float(high))


def quality_of(row: dict[str, Any]) -> dict[str, float]:
    """Return the quality metrics of a row of the manifest, of earlier versions too."""
    metrics = row["quality"] if "quality" in row else row["flags"]
    return current_metrics(metrics)


def _is_finished(folder: Path, rows: list[dict[str, Any]]) -> bool:
    try:
        lines = (folder / "manifest.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines] == rows
    except (OSError, ValueError):
        return False


def _strip(frames: UInt8[np.ndarray, "f h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return some frames of an episode side by side."""
    last = len(frames) - 1
    places = np.linspace(0, last, SHEET_FRAMES).round()
    chosen = frames[places.astype(int)]
    return np.concatenate(list(chosen), axis=1)
