"""Recording a data set with a world's simulator.

Takes: a world's spec and its simulator's factory.  Gives: a data set on disk, shard by shard, seeded and resumable.
Knows nothing of: which simulator it is, models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from streamdit_gym.data.dataset import FORMAT, Shard
from streamdit_gym.data.processes import mapped
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.vocabulary import Simulator, WorldSpec

Job = tuple[WorldSpec, Callable[[], Simulator], dict[str, float], "RecordConfig", Path, int]


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """What to record.

    Attributes:
        shards: how many shards in all; those already there are kept.
        episodes: episodes per shard.
        steps: steps per episode.
        seed: a shard's content depends on the seed and the shard's number alone.
        workers: processes.
        drill: how the last episodes of every shard begin instead; no environment begins there.
        drilled: how many these are.
    """

    shards: int = 64
    episodes: int = 32
    steps: int = 96
    seed: int = 0
    workers: int = 1
    drill: str = ""
    drilled: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be counted.

        Raises:
            StreamDiTError: if there is nothing to record, or more is drilled than that.
        """
        for name, least in (("shards", 1), ("episodes", 1), ("steps", 1), ("seed", 0), ("workers", 1), ("drilled", 0)):
            if getattr(self, name) < least:
                raise StreamDiTError(f"impossible {name}", given=getattr(self, name), allowed=f"{least} or more", remedy=f"change --{name}")
        if self.drilled > (self.episodes if self.drill else 0):
            raise StreamDiTError(
                "no such episodes to drill",
                given=self.drilled,
                allowed=f"0 to {self.episodes if self.drill else 0}",
                remedy="change --drilled",
            )


def reward(spec: WorldSpec, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return every task's reward for a step, tasks sorted by name.

    Args:
        spec: the world.
        before: scores of the frame before, shape (..., m).
        after: scores of the frame after, shape (..., m).
    """
    columns = []
    for name in sorted(spec.tasks):
        task = spec.tasks[name]
        potential, success = spec.score_names.index(task.potential), spec.score_names.index(task.success)
        columns.append(task.reward(after[..., potential] - before[..., potential], after[..., success]))
    return np.stack(columns, axis=-1).astype(np.float32)


def record_shard(spec: WorldSpec, make: Callable[[], Simulator], starts: dict[str, float], config: RecordConfig, index: int) -> Shard:
    """Play one shard's episodes; depends only on the seed and the shard's number."""
    rng = np.random.default_rng([config.seed, index])
    simulator = make()
    episodes = []
    for number in range(config.episodes):
        start = str(rng.choice(list(starts), p=list(starts.values())))
        first = simulator.reset(rng, config.drill if number >= config.episodes - config.drilled else start)
        begun = Episode(frames=[first], actions=[], prompts=[], states=[simulator.state()], scores=[simulator.scores()])
        _add_plain(begun, simulator)
        episodes.append(play(spec, simulator, rng, begun, config.steps))
    simulator.close()
    return shard_of(spec, episodes)


@dataclass(frozen=True, kw_only=True)
class Episode:
    """An episode as far as it has come: one frame, state and row of scores more than actions and prompts; plain frames if there are any."""

    frames: list[np.ndarray]
    actions: list[int]
    prompts: list[int]
    states: list[np.ndarray]
    scores: list[np.ndarray]
    plain: list[np.ndarray] = field(default_factory=list)


def play(spec: WorldSpec, simulator: Simulator, rng: np.random.Generator, episode: Episode, steps: int) -> Episode:
    """Add so many steps of the mixed player to an episode, and return it."""
    table = {phrase: i for i, phrase in enumerate(all_phrases(spec))}
    for _ in range(steps):
        action = simulator.explore(rng)
        menu = spec.menu[action]
        # half of the time the phrase the environment says, else any paraphrase
        phrase = simulator.said(action, menu[0] if rng.random() < 0.5 else menu[int(rng.integers(len(menu)))])
        episode.frames.append(simulator.step(action))
        episode.actions.append(action)
        episode.prompts.append(table[phrase])
        episode.states.append(simulator.state())
        episode.scores.append(simulator.scores())
        if episode.plain:
            _add_plain(episode, simulator)
    return episode


def _add_plain(episode: Episode, simulator: Simulator) -> None:
    plain = simulator.plain()
    if plain is not None:
        episode.plain.append(plain)


def shard_of(spec: WorldSpec, episodes: list[Episode]) -> Shard:
    """Return a shard of episodes that are equally long."""
    scores = np.stack([np.stack(episode.scores) for episode in episodes])
    return Shard(
        frames=np.stack([np.stack(episode.frames) for episode in episodes]),
        actions=np.array([episode.actions for episode in episodes], dtype=np.int16),
        prompts=np.array([episode.prompts for episode in episodes], dtype=np.int32),
        rewards=reward(spec, scores[:, :-1], scores[:, 1:]),
        states=np.stack([np.stack(episode.states) for episode in episodes]),
        scores=scores,
        plain=np.stack([np.stack(episode.plain) for episode in episodes]) if episodes[0].plain else None,
    )


def all_phrases(spec: WorldSpec) -> list[str]:
    """Return every phrase of the menu and all else that is said, in order, each once."""
    return list(dict.fromkeys([*(phrase for phrases in spec.menu for phrase in phrases), *spec.also]))


def record(spec: WorldSpec, make: Callable[[], Simulator], starts: dict[str, float], folder: str | Path, config: RecordConfig) -> None:
    """Record until `config.shards` shards are there, showing a progress bar.

    Safe to stop at any moment and to call again: whole shards are kept.

    Raises:
        DatasetError: if the folder holds a data set made with other settings.
    """
    folder = Path(folder)
    begin(folder, spec, {"seed": config.seed, "episodes": config.episodes, "drilled": config.drilled, "steps": config.steps})
    missing = [i for i in range(config.shards) if not (folder / f"shard-{i:05d}.npz").is_file()]
    jobs = [(spec, make, starts, config, folder, i) for i in missing]
    bar = tqdm(total=config.shards, initial=config.shards - len(missing), unit="shard", desc=f"record {spec.name}")
    mapped(_save_shard, jobs, config.workers, bar)


def begin(folder: Path, spec: WorldSpec, plan: dict[str, Any]) -> None:
    """Say in the folder what it will hold, unless that is said already.

    Raises:
        DatasetError: if the folder holds a data set made with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    meta = {
        "format": FORMAT, "world": spec.name, "size": spec.size, "fps": spec.fps, "simulator": spec.simulator, **plan,
        "state_names": list(spec.state_names),
        "score_names": list(spec.score_names), "tasks": sorted(spec.tasks), "phrases": all_phrases(spec),
        "menu": [list(phrases) for phrases in spec.menu],
    }  # fmt: skip
    path = folder / "meta.json"
    defaults = {"drilled": 0, "simulator": 1}  # what older files do not say
    if path.is_file() and (old := defaults | json.loads(path.read_text())) != (new := defaults | meta):
        changed = sorted(key for key in {**old, **new} if old.get(key) != new.get(key))
        raise DatasetError("another data set is here", given=f"{folder}, differing in {', '.join(changed)}", remedy="use an empty folder")
    if not path.is_file():
        part = path.with_suffix(".part")
        part.write_text(json.dumps(meta, indent=1))
        part.replace(path)


def _save_shard(job: Job) -> None:
    spec, make, starts, config, folder, index = job
    record_shard(spec, make, starts, config, index).save(folder, index)
