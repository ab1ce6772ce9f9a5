"""Recording a data set with a world's simulator.

Takes: a world's spec and its simulator's factory.  Gives: a data set on disk, shard by shard,
    seeded and resumable.
Knows nothing of: which simulator it is, models.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from streamdit_gym.checks import check_fields
from streamdit_gym.data.dataset import FORMAT, PLAIN, Dataset, Shard, read_meta
from streamdit_gym.data.definition_checks import (
    check_action,
    check_definition,
    check_first_episode,
    check_frame,
    check_phrase,
    check_scores,
    check_state,
)
from streamdit_gym.data.processes import mapped
from streamdit_gym.definition import Simulator, WorldSpec
from streamdit_gym.errors import ArgumentError, DatasetError
from streamdit_gym.files import folder_lock, remove_parts, write_text, writing_to

log = logging.getLogger("streamdit_gym")

MAX_SHARDS = 100_000  # their numbers have five digits
MAX_SHARD_FRAMES = 1_000_000  # a shard is made and read as a whole
MAX_SEED = 2**63 - 1
MAX_WORKERS = 1024
AGAIN = "make room, or choose another folder, and run the same command again; whole shards are kept"

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
        """Check the numbers.

        Raises:
            ArgumentError: if one is out of range, there are too many frames in a shard, or more is
                drilled than there is.
        """
        check_fields(
            self,
            ints={
                "shards": (1, MAX_SHARDS),
                "episodes": (1, MAX_SHARD_FRAMES),
                "steps": (1, MAX_SHARD_FRAMES),
                "seed": (0, MAX_SEED),
                "workers": (1, MAX_WORKERS),
                "drilled": (0, MAX_SHARD_FRAMES),
            },
        )
        check_shard_size(self.episodes, self.steps)
        most = self.episodes if self.drill else 0
        if self.drilled > most:
            raise ArgumentError(
                "no such episodes to drill",
                given=self.drilled,
                allowed=f"0 to {most}",
                remedy="change --drilled",
            )


def check_shard_size(episodes: int, steps: int) -> None:
    """Refuse shards that no machine holds in memory.

    Raises:
        ArgumentError: if a shard has too many frames.
    """
    frames = episodes * (steps + 1)
    if frames > MAX_SHARD_FRAMES:
        raise ArgumentError(
            "too large shards",
            given=f"{frames:,} frames: {episodes:,} episodes of {steps:,} steps",
            allowed=f"{MAX_SHARD_FRAMES:,} frames",
            remedy="record more shards of fewer episodes",
        )


def reward(spec: WorldSpec, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return every task's reward for a step, tasks sorted by name.

    Args:
        spec: the world.
        before: scores of the frame before, shape (..., m).
        after: scores of the frame after, shape (..., m).
    """
    columns = [np.zeros((*after.shape[:-1], 0))]
    for name in sorted(spec.tasks):
        task = spec.tasks[name]
        potential, success = (
            spec.score_names.index(task.potential),
            spec.score_names.index(task.success),
        )
        column = task.reward(after[..., potential] - before[..., potential], after[..., success])
        columns.append(column[..., None])
    return np.concatenate(columns, axis=-1).astype(np.float32)


def record_shard(
    spec: WorldSpec,
    make: Callable[[], Simulator],
    starts: dict[str, float],
    config: RecordConfig,
    index: int,
) -> Shard:
    """Play one shard's episodes; depends only on the seed and the shard's number.

    Raises:
        DefinitionError: if the simulator gives what the definition does not say.
    """
    rng = np.random.default_rng([config.seed, index])
    simulator = make()
    episodes = []
    for number in range(config.episodes):
        start = str(rng.choice(list(starts), p=list(starts.values())))
        first = simulator.reset(
            rng, config.drill if number >= config.episodes - config.drilled else start
        )
        begun = Episode(frames=[], actions=[], prompts=[], states=[], scores=[])
        _add_frame(spec, begun, simulator, first)
        episodes.append(play(spec, simulator, rng, begun, config.steps))
    simulator.close()
    return shard_of(spec, episodes)


@dataclass(frozen=True, kw_only=True)
class Episode:
    """An episode as far as it has come: one frame,
    state and row of scores more than actions and prompts; plain frames if there are any.
    """

    frames: list[np.ndarray]
    actions: list[int]
    prompts: list[int]
    states: list[np.ndarray]
    scores: list[np.ndarray]
    plain: list[np.ndarray] = field(default_factory=list)


def play(
    spec: WorldSpec, simulator: Simulator, rng: np.random.Generator, episode: Episode, steps: int
) -> Episode:
    """Add so many steps of the mixed player to an episode, and return it.

    Raises:
        DefinitionError: if the simulator gives what the definition does not say.
    """
    table = {phrase: i for i, phrase in enumerate(all_phrases(spec))}
    for _ in range(steps):
        action = check_action(spec, simulator.explore(rng))
        menu = spec.menu[action]
        # half of the time the phrase the environment says, else any paraphrase
        phrase = simulator.prompt_for(
            action, menu[0] if rng.random() < 0.5 else menu[int(rng.integers(len(menu)))]
        )
        episode.actions.append(action)
        episode.prompts.append(table[check_phrase(table, phrase)])
        _add_frame(spec, episode, simulator, simulator.step(action))
    return episode


def _add_frame(spec: WorldSpec, episode: Episode, simulator: Simulator, frame: Any) -> None:
    """Add a simulator's newest frame with all that belongs to it."""
    episode.frames.append(check_frame(spec, frame))
    episode.states.append(check_state(spec, simulator.state()))
    episode.scores.append(check_scores(spec, simulator.scores()))
    plain = simulator.plain_frame()
    if (
        plain is not None and len(episode.plain) == len(episode.frames) - 1
    ):  # a corrected episode begins without
        episode.plain.append(check_frame(spec, plain))


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
        plain=np.stack([np.stack(episode.plain) for episode in episodes])
        if episodes[0].plain
        else None,
    )


def all_phrases(spec: WorldSpec) -> list[str]:
    """Return every phrase of the menu and all else that is said, in order, each once."""
    return list(
        dict.fromkeys([*(phrase for phrases in spec.menu for phrase in phrases), *spec.also])
    )


def record(
    spec: WorldSpec,
    make: Callable[[], Simulator],
    starts: dict[str, float],
    folder: str | Path,
    config: RecordConfig,
) -> None:
    """Record until `config.shards` shards are there, showing a progress bar.

    Safe to stop at any moment and to call again: whole shards are kept, those that cannot be read
    are recorded anew.

    Raises:
        DefinitionError: if the definition, or what the simulator gives in a first episode, is
            wrong; nothing is written then.
        DatasetError: if the folder holds a data set made with other settings.
        BusyError: if another process works in the folder.
        StorageError: if the folder cannot be written to.
    """
    folder = Path(folder)
    check_definition(spec, starts)
    check_first_episode(spec, make, (*starts, config.drill) if config.drilled else starts)
    plan = {
        "seed": config.seed,
        "episodes": config.episodes,
        "drilled": config.drilled,
        "steps": config.steps,
    }
    with writing_to(folder, AGAIN), folder_lock(folder):
        for place in (folder, folder / PLAIN):
            remove_parts(place)
        begin(folder, spec, plan)
        missing = missing_shards(folder, config.shards)
        jobs = [(spec, make, starts, config, folder, index) for index in missing]
        bar = tqdm(
            total=config.shards,
            initial=config.shards - len(missing),
            unit="shard",
            desc=f"record {spec.name}",
        )
        mapped(_save_shard, jobs, config.workers, bar)


def begin(folder: Path, spec: WorldSpec, plan: dict[str, Any]) -> None:
    """Say in the folder what it will hold, unless that is said already.

    Raises:
        DatasetError: if the folder holds a data set made with other settings.
    """
    meta = {
        "format": FORMAT,
        "world": spec.name,
        "size": spec.size,
        "fps": spec.fps,
        "simulator": spec.simulator,
        **plan,
        "state_names": list(spec.state_names),
        "score_names": list(spec.score_names),
        "tasks": sorted(spec.tasks),
        "phrases": all_phrases(spec),
        "menu": [list(phrases) for phrases in spec.menu],
    }
    path = folder / "meta.json"
    if not path.is_file():
        write_text(path, json.dumps(meta, indent=1))
        return
    defaults = {"drilled": 0, "simulator": 1}  # what older files do not say
    old, new = ({**defaults, **content} for content in (read_meta(path), meta))
    if old != new:
        changed = sorted(key for key in {**old, **new} if old.get(key) != new.get(key))
        raise DatasetError(
            "another data set is here",
            given=f"{folder}, differing in {', '.join(changed)}",
            remedy="use an empty folder",
        )


def missing_shards(folder: Path, count: int) -> list[int]:
    """Return which of the first so many shards of a data set are still to be recorded: not there,
    or not readable.
    """
    if not any(folder.glob("shard-?????.npz")):
        return list(range(count))
    dataset = Dataset(folder)
    missing = set(range(count)) - set(dataset.shards)
    for position, index in enumerate(dataset.shards):
        if index >= count:
            continue
        try:
            dataset.check_shard(position)
        except DatasetError as error:
            log.warning("shard %d is recorded anew: %s", index, error.given)
            missing.add(index)
    return sorted(missing)


def _save_shard(job: Job) -> None:
    spec, make, starts, config, folder, index = job
    shard = record_shard(spec, make, starts, config, index)
    with writing_to(folder, AGAIN):  # not all system errors survive the way out of a worker
        shard.save(folder, index)
