"""A look at a data set: numbers, what is broken, what is there twice, and a contact sheet.

Takes: a data set's folder.  Gives: a report and a picture.  Knows nothing of: models.
"""

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
from streamdit_gym.errors import DatasetError
from streamdit_gym.generate.shards import ShardRecord, record_path, recorded_shards

AGAIN = "call generate again"
ACROSS, DOWN = 12, 16  # frames per episode, and episodes, on the contact sheet


@dataclass(kw_only=True)
class Found:
    """What a data set holds.

    Attributes:
        world: whose it is.
        storage: the format of its frames.
        episodes: whole ones.
        frames: in them.
        actions: how often each menu action was taken; -1, in data sets of older versions: what was
            said is no menu entry.
        phrases: how many different ones were said.
        returns: per task, mean and deviation over episodes.
        flags: per quality flag, its median and 95th percentile over all episodes made; empty for
            recorded data.
        dropped: episodes made and not kept.
        twice: pairs of (shard, row) whose frames are equal.
        broken: shards that cannot be read, with the reason.
        sheet: some frames of some episodes.
    """

    world: str
    storage: str
    episodes: int = 0
    frames: int = 0
    actions: dict[int, int] = field(default_factory=dict)
    phrases: int = 0
    returns: dict[str, tuple[float, float]] = field(default_factory=dict)
    flags: dict[str, tuple[float, float]] = field(default_factory=dict)
    dropped: int = 0
    twice: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    sheet: UInt8[np.ndarray, "h w 3"] | None = None

    def lines(self) -> list[str]:
        """Return the report."""
        total = max(1, sum(self.actions.values()))
        made = [
            f"world      {self.world}, frames as {self.storage}",
            f"episodes   {self.episodes}, {self.frames} frames"
            + (f"; {self.dropped} more were made and not kept" if self.dropped else ""),
            f"phrases    {self.phrases} different ones",
            "actions    "
            + "  ".join(
                f"{action}: {100 * count / total:.1f} %"
                for action, count in sorted(self.actions.items())
            ),
        ]
        made += [
            f"return     {task}: {mean:.2f}, deviation {deviation:.2f}"
            for task, (mean, deviation) in self.returns.items()
        ]
        made += [
            f"flag       {name}: median {middle:.3g}, 95 % below {high:.3g}"
            for name, (middle, high) in self.flags.items()
        ]
        made += [
            f"twice      shard {a[0]} row {a[1]} and shard {b[0]} row {b[1]}" for a, b in self.twice
        ]
        return (
            made + [f"broken     {text}" for text in self.broken]
            if self.broken
            else [*made, "broken     nothing"]
        )


def inspect(folder: Path) -> Found:
    """Read every shard of a data set and say what is in it.

    Raises:
        DatasetError: if the folder is no data set.
    """
    dataset = Dataset(folder)
    found = Found(world=dataset.meta["world"], storage=dataset.meta.get("storage", "mkv"))
    generated = "generated" in dataset.meta
    rows, damaged = _recorded_rows(folder, found) if generated else ([], set())
    actions: Counter[int] = Counter()
    said: set[int] = set()
    seen: dict[bytes, tuple[int, int]] = {}
    returns, strips = [], []
    every = max(1, len(dataset) // DOWN)
    for position, index in enumerate(tqdm(dataset.shards, desc="inspect", unit="shard")):
        if index in damaged:
            continue
        try:
            shard = dataset.shard(position)
        except DatasetError as error:
            text = f"shard {index}: {error.given}; {AGAIN}" if generated else str(error)
            found.broken.append(text.replace("\n", "; "))
            continue
        found.episodes += len(shard.frames)
        found.frames += shard.frames.shape[0] * shard.frames.shape[1]
        actions.update(shard.actions.ravel().tolist())
        said |= set(shard.prompts.ravel().tolist())
        returns.append(shard.rewards.sum(1))
        for row, episode in enumerate(shard.frames):
            key = hashlib.sha256(episode.tobytes()).digest()
            if key in seen:
                found.twice.append((seen[key], (index, row)))
            seen.setdefault(key, (index, row))
        shown = range(len(shard.frames)) if len(dataset) < DOWN else [0]
        if position % every == 0 or len(dataset) < DOWN:
            strips += [_strip(shard.frames[row]) for row in shown]
    found.actions, found.phrases = dict(actions), len(said)
    if returns:
        every_return = np.concatenate(returns)
        found.returns = {
            task: (float(every_return[:, i].mean()), float(every_return[:, i].std()))
            for i, task in enumerate(dataset.meta["tasks"])
        }
    if strips:
        found.sheet = np.concatenate(strips[:DOWN])
    found.dropped = sum(not row["kept"] for row in rows)
    for name in rows[0]["flags"] if rows else ():
        values = [row["flags"][name] for row in rows]
        found.flags[name] = (float(np.median(values)), float(np.quantile(values, 0.95)))
    return found


def _recorded_rows(folder: Path, found: Found) -> tuple[list[dict[str, Any]], set[int]]:
    """Return what is said of all episodes made, and which shards are damaged;
    note what is missing or damaged.
    """
    rows: list[dict[str, Any]] = []
    damaged = set()
    store = frame_format(found.storage)
    for index in range(1 + max(recorded_shards(folder), default=-1)):
        record = ShardRecord.read(folder, index)
        if record is None:
            found.broken.append(
                f"shard {index}: {record_path(folder, index).name} is missing or cut; {AGAIN}"
            )
            continue
        rows += record.rows
        if damage := record.damage(folder, index, store):
            damaged.add(index)
            found.broken.append(f"shard {index}: {damage}; {AGAIN}")
    if not _is_finished(folder, rows):
        found.broken.append(f"the data set is not finished; {AGAIN}")
    return rows, damaged


def _is_finished(folder: Path, rows: list[dict[str, Any]]) -> bool:
    try:
        return [
            json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()
        ] == rows
    except (OSError, ValueError):
        return False


def _strip(episode: UInt8[np.ndarray, "f h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    places = np.linspace(0, len(episode) - 1, ACROSS).round().astype(int)
    return np.concatenate(list(episode[places]), axis=1)
