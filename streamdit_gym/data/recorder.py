"""Recording a data set with a world's simulator, shard by shard, seeded and resumable."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from streamdit_gym.actions import stored_actions
from streamdit_gym.checks import check_fields
from streamdit_gym.data.dataset import FORMAT, Dataset, read_meta
from streamdit_gym.data.definition_checks import check_definition
from streamdit_gym.data.episode import Episode, add_frame, all_phrases, explore, stack_episodes
from streamdit_gym.data.motion import measure_motion
from streamdit_gym.data.processes import map_in_processes
from streamdit_gym.data.shard import BASE_FOLDER, Shard
from streamdit_gym.data.trial_episodes import check_first_episodes, simulator_of
from streamdit_gym.definition import WorldDefinition, WorldSpec, stored_size
from streamdit_gym.errors import ArgumentError, DatasetError
from streamdit_gym.files import folder_lock, remove_parts, write_json, writing_to

log = logging.getLogger("streamdit_gym")

MAX_SHARDS = 100_000  # their numbers have five digits
MAX_SHARD_FRAMES = 1_000_000  # a shard is made and read as a whole
MAX_SEED = 2**63 - 1
MAX_WORKERS = 1024
AGAIN = "make room, or choose another folder, and run the same command again; whole shards are kept"
MOTION = "motion"  # name of its measurement in meta.json
# settings that the meta.json of older versions lacks
META_DEFAULTS = {"drilled": 0, "simulator": 1}


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """What to record.

    Attributes:
        shards: how many shards in all; existing ones are kept.
        episodes: episodes per shard.
        steps: steps per episode.
        seed: a shard's content depends on the seed and the shard's number alone.
        workers: processes.
        hard_start: kind of start of the last episodes of every shard, which practise what is rare
            elsewhere; no environment begins there.
        num_hard_starts: how many episodes of a shard these are.
    """

    shards: int = 64
    episodes: int = 32
    steps: int = 96
    seed: int = 0
    workers: int = 1
    hard_start: str = ""
    num_hard_starts: int = 0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ArgumentError: if a number is out of range, a shard has too many frames, or more than
                all of its episodes.
        """
        check_fields(
            self,
            ints={
                "shards": (1, MAX_SHARDS),
                "episodes": (1, MAX_SHARD_FRAMES),
                "steps": (1, MAX_SHARD_FRAMES),
                "seed": (0, MAX_SEED),
                "workers": (1, MAX_WORKERS),
                "num_hard_starts": (0, MAX_SHARD_FRAMES),
            },
        )
        check_shard_size(self.episodes, self.steps)
        most = self.episodes if self.hard_start else 0
        if self.num_hard_starts > most:
            raise ArgumentError(
                "too many episodes with a hard start",
                given=self.num_hard_starts,
                allowed=f"0 to {most}",
                remedy="change num_hard_starts",
            )


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A world and what to record with its simulator."""

    definition: WorldDefinition
    config: RecordConfig


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


def record(definition: WorldDefinition, folder: str | Path, config: RecordConfig) -> None:
    """Record until `config.shards` shards exist, and show a progress bar.

    It first measures how far actions move the picture, and says so where a frame should span more
    time (see `Motion`). Safe to stop at any moment and to call again: whole shards are kept,
    unreadable ones are recorded anew.

    Args:
        definition: the world.
        folder: the data set.
        config: what to record.

    Raises:
        DefinitionError: if the definition, or what the simulator returns in a first episode, is
            wrong; nothing is written then.
        DatasetError: if the folder holds a data set made with other settings.
        BusyError: if another process works in the folder.
        StorageError: if the folder cannot be written to.
    """
    folder = Path(folder)
    check_definition(definition, definition.starts)
    kinds = list(definition.starts)
    if config.num_hard_starts:
        kinds.append(config.hard_start)
    check_first_episodes(definition, kinds)
    recording = Recording(definition=definition, config=config)
    with writing_to(folder, AGAIN), folder_lock(folder):
        remove_parts(folder)
        remove_parts(folder / BASE_FOLDER)
        settings: dict[str, Any] = {
            "seed": config.seed,
            "episodes": config.episodes,
            "drilled": config.num_hard_starts,
            "steps": config.steps,
        }
        if not (folder / "meta.json").is_file():
            settings[MOTION] = _measured_motion(definition)
        write_meta(folder, definition, settings)
        _record_missing(recording, folder)


def _measured_motion(definition: WorldDefinition) -> dict[str, Any]:
    """Return how far actions move the picture, and say so."""
    motion = measure_motion(definition)
    say = log.info if motion.frame_skip == 1 else log.warning
    say("%s: %s", definition.name, motion.report)
    return motion.stored()


def _record_missing(recording: Recording, folder: Path) -> None:
    config = recording.config
    missing = missing_shards(folder, config.shards)
    bar = tqdm(
        total=config.shards,
        initial=config.shards - len(missing),
        unit="shard",
        desc=f"record {recording.definition.name}",
    )
    jobs = [(recording, folder, index) for index in missing]
    map_in_processes(_record_and_save, jobs, config.workers, bar)


def record_shard(definition: WorldDefinition, config: RecordConfig, index: int) -> Shard:
    """Record one shard's episodes; they depend only on the seed and the shard's number.

    Args:
        definition: the world.
        config: what to record.
        index: the shard's number.

    Raises:
        DefinitionError: if the simulator returns what the definition does not allow.
    """
    rng = np.random.default_rng([config.seed, index])
    simulator = simulator_of(definition)
    starts = list(definition.starts)
    shares = list(definition.starts.values())
    first_hard_start = config.episodes - config.num_hard_starts
    episodes = []
    for number in range(config.episodes):
        start = str(rng.choice(starts, p=shares))
        if number >= first_hard_start:
            start = config.hard_start
        episode = Episode()
        add_frame(definition, episode, simulator, simulator.reset(rng, start))
        episodes.append(explore(definition, simulator, rng, episode, config.steps))
    simulator.close()
    return stack_episodes(definition, episodes, config.steps)


def write_meta(folder: Path, spec: WorldSpec, settings: dict[str, Any]) -> None:
    """Write ``meta.json``, or check that the one already there agrees.

    Args:
        folder: the data set.
        spec: the world.
        settings: what else makes the data what they are.

    Raises:
        DatasetError: if the folder holds a data set made with other settings.
    """
    meta = {
        "format": FORMAT,
        "world": spec.name,
        "size": stored_size(spec.frame_size),
        "fps": spec.fps,
        "simulator": spec.simulator_version,
        **settings,
        "state_names": list(spec.state_names),
        "score_names": list(spec.score_names),
        "tasks": sorted(spec.tasks),
        "phrases": all_phrases(spec),
        **stored_actions(spec.actions),
    }
    path = folder / "meta.json"
    if not path.is_file():
        write_json(path, meta)
        return
    old = META_DEFAULTS | read_meta(path)
    new = META_DEFAULTS | meta
    old.pop(MOTION, None)  # measured once
    new.pop(MOTION, None)
    if old != new:
        changed = sorted(key for key in old | new if old.get(key) != new.get(key))
        raise DatasetError(
            "another data set is here",
            given=f"{folder}, differing in {', '.join(changed)}",
            remedy="use an empty folder",
        )


def missing_shards(folder: Path, count: int) -> list[int]:
    """Return which of the first `count` shards of a data set are missing or unreadable."""
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


def _record_and_save(job: tuple[Recording, Path, int]) -> None:
    recording, folder, index = job
    shard = record_shard(recording.definition, recording.config, index)
    with writing_to(folder, AGAIN):  # not all system errors survive the way out of a worker
        shard.save(folder, index)
