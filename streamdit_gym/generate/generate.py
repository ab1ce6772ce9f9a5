"""A data set made by a world: planned, made shard by shard, resumed, finished.

Takes: what to generate, a folder.  Gives: a data set that `train` reads and other tools do, with a
    manifest.
Knows nothing of: how an episode is made.

On disk: ``meta.json`` and ``shard-00000.npz`` as `record` writes them, the format's own files
(`streamdit_gym.data.formats`), beside each shard ``shard-00000.json``
(`streamdit_gym.generate.shards`), at the end what other programs read, in a folder of its own, and
``manifest.jsonl``, a line for every episode.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from streamdit_gym.checks import check_choice, check_int, check_str
from streamdit_gym.data.dataset import FORMAT
from streamdit_gym.data.episode import all_phrases
from streamdit_gym.data.formats import FORMATS, frame_format
from streamdit_gym.data.formats.frame_format import FrameFormat
from streamdit_gym.envs.registration import id_of, spec_json
from streamdit_gym.envs.worlds import action_vectors_of
from streamdit_gym.errors import DatasetError, UnknownNameError, require
from streamdit_gym.files import (
    PART,
    atomic_write,
    folder_lock,
    remove_parts,
    write_text,
    writing_to,
)
from streamdit_gym.generate.pool import run_on_ray
from streamdit_gym.generate.quality import Keep
from streamdit_gym.generate.shards import ShardRecord, recorded_shards, remove_shard
from streamdit_gym.generate.speakers import read_prompts
from streamdit_gym.generate.worker import GenerateConfig, Made, Worker
from streamdit_gym.world import World, find_world

# 1: what other programs read lay between our own files, and nothing vouched for a shard's files
LAYOUT = 2
ROOM = 50 * 2**20  # bytes that must be free before a shard is begun
AGAIN = "call again when it can; whole shards are kept"
NOT_OF_THE_DATA = (
    "episodes",
    "device",
    "trust_agents",
)  # settings that change nothing in an episode
MAY_CHANGE = (
    "generated",
    "promises",
    "license",
    "env_spec",
)  # what is said of a world, without the world


def generate(
    config: GenerateConfig,
    folder: Path,
    *,
    kind: str = "mkv",
    keep_if: str = "",
    ray: str | None = None,
    cores: int = 2,
) -> dict[str, Any]:
    """Make what is missing of a data set, and finish it; safe to stop at any moment and to call
    again.

    Args:
        config: what to generate.
        folder: where to; one process at a time works there.
        kind: format, see `streamdit_gym.data.formats`.
        keep_if: which episodes to keep, see `Keep`; the others stand in the manifest alone.
        ray: make shards with Ray: the address of a cluster, or empty to start it on this machine;
            None: without Ray.
        cores: cores of each of Ray's actors, where there are no GPUs.

    Returns:
        ``episodes`` made and ``kept``, ``frames`` in the kept ones, and ``result``: what to give to
        other programs.

    Raises:
        StreamDiTError: for anything that does not exist, cannot be read or written, or does not fit
            what is in the folder.
    """
    check_int("cores", cores, least=1)
    store = frame_format(check_choice("format", kind, FORMATS))
    Keep(check_str("keep_if", keep_if))
    for module in store.required_modules:
        require(module, "generate", f"the format {kind}")
    world = World.from_pretrained(config.world)
    if config.task not in world.spec.tasks:
        raise UnknownNameError("task", config.task, world.spec.tasks)
    meta = _meta(config, world, kind, keep_if)
    # whatever cannot be made is told before anything is written; with Ray the actors have workers
    # of their own
    worker = Worker(
        config if ray is None else dataclasses.replace(config, device="cpu"), meta["phrases"]
    )
    with writing_to(folder, AGAIN), folder_lock(folder):
        for place in store.shard_folders:
            remove_parts(folder / place)
        _begin(folder, meta)
        _check_not_fewer(folder, config)
        _make_missing(config, folder, meta, worker, ray=ray, cores=cores)
        rows = _finish(config, folder, meta)
    kept = [row for row in rows if row["kept"]]
    frames = len(kept) * (config.steps + 1)
    return {
        "episodes": len(rows),
        "kept": len(kept),
        "frames": frames,
        "result": store.export_path(folder, kept),
    }


def _meta(config: GenerateConfig, world: World, kind: str, keep_if: str) -> dict[str, Any]:
    """Return what ``meta.json`` says."""
    spec = world.spec
    phrases = all_phrases(spec)
    if config.player.endswith(".jsonl"):
        phrases += sorted(
            {prompt for prompts in read_prompts(Path(config.player)) for prompt in prompts}
            - set(phrases)
        )
    names, vectors = action_vectors_of(spec.name, spec.menu)
    settings = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in NOT_OF_THE_DATA
    }
    return {
        "format": FORMAT,
        "world": spec.name,
        "size": spec.size,
        "fps": spec.fps,
        "seed": config.seed,
        "episodes": config.batch,
        "steps": config.steps,
        "state_names": list(spec.state_names),
        "score_names": list(spec.score_names),
        "tasks": sorted(spec.tasks),
        "phrases": phrases,
        "menu": [list(ways) for ways in spec.menu],
        "action_names": names,
        "action_vectors": vectors,
        "storage": kind,
        "generated": {
            **settings,
            "layout": LAYOUT,
            "keep_if": keep_if,
            "bundle": json.loads((find_world(config.world) / "config.json").read_text())["files"],
            "inputs": {
                name: _digest(given)
                for name in ("player", "images", "over")
                if (given := getattr(config, name))
            },
        },
        "promises": world.facts.get("scores", {}).get("promises", []),
        "license": str(world.facts.get("license", "")),
        "env_spec": spec_json(
            _with_whole_paths(config).world, spec.name, config.task, config.partition
        ),
    }


def _begin(folder: Path, meta: dict[str, Any]) -> None:
    """Write ``meta.json``, or check that the one there says the same."""
    path = folder / "meta.json"
    if not path.is_file():
        if any(not there.name.startswith(PART) for there in folder.iterdir()):
            raise DatasetError(
                "the folder is not empty and holds no data set",
                given=folder,
                remedy="use an empty folder",
            )
        write_text(path, json.dumps(meta, indent=1))
        return
    try:
        old = json.loads(path.read_text())
        if not isinstance(old, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            "meta.json cannot be read", given=path, remedy="use an empty folder"
        ) from error
    there, asked = ({**content, **content.get("generated", {})} for content in (old, meta))
    if "generated" in old and "layout" not in there:
        raise DatasetError(
            "an older version made this data set",
            given=folder,
            remedy="use an empty folder to make more; `train` and `inspect` read this one as it is",
        )
    changed = sorted(key for key in asked if key not in MAY_CHANGE and there.get(key) != asked[key])
    if changed:
        raise DatasetError(
            "another data set is here",
            given=f"{folder}, differing in {', '.join(changed)}",
            remedy="use an empty folder, or ask for the same",
        )


def _check_not_fewer(folder: Path, config: GenerateConfig) -> None:
    """Refuse to leave episodes out that are there.

    Raises:
        DatasetError: if fewer are asked for.
    """
    last = max(recorded_shards(folder), default=0)
    record = ShardRecord.read(folder, last)
    there = last * config.batch + (len(record.rows) if record else 0)
    if there > config.episodes:
        raise DatasetError(
            "more episodes are here",
            given=config.episodes,
            allowed=f"{there} or more",
            remedy="ask for them, or use an empty folder",
        )


def _make_missing(
    config: GenerateConfig,
    folder: Path,
    meta: dict[str, Any],
    worker: Worker,
    *,
    ray: str | None,
    cores: int,
) -> None:
    """Make every shard that is not there as it was written."""
    store = frame_format(meta["storage"])
    missing = [
        index for index in range(config.shards) if not _is_whole(folder, index, config, store)
    ]
    done = config.episodes - sum(config.rows(index) for index in missing)
    with tqdm(
        total=config.episodes, initial=done, unit="episode", desc=f"generate {meta['world']}"
    ) as bar:
        if ray is None:
            maker = ShardMaker(config, folder, meta, worker)
            for index in missing:
                bar.update(maker.run(index))
        elif missing:
            arguments = (_with_whole_paths(config), folder.resolve(), meta)
            run_on_ray(
                ShardMaker,
                arguments,
                missing,
                address=ray or None,
                gpus=config.device == "cuda",
                cores=cores,
                done=bar.update,
            )


def _is_whole(folder: Path, index: int, config: GenerateConfig, store: FrameFormat) -> bool:
    record = ShardRecord.read(folder, index)
    return (
        record is not None
        and len(record.rows) == config.rows(index)
        and not record.damage(folder, index, store)
    )


def _finish(config: GenerateConfig, folder: Path, meta: dict[str, Any]) -> list[dict[str, Any]]:
    """Write what other programs read, then the manifest, and return its rows.

    Raises:
        DatasetError: if no episode was kept.
    """
    rows = []
    for index in range(config.shards):
        record = ShardRecord.read(folder, index)
        assert record is not None, "every shard was made or found whole"
        rows += record.rows
    kept = [row for row in rows if row["kept"]]
    if kept:
        frame_format(meta["storage"]).finish(folder, meta, kept)
    write_text(folder / "manifest.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    if not kept:
        rule = meta["generated"]["keep_if"]
        raise DatasetError(
            "no episode was kept",
            given=rule,
            remedy="ask for less; the flags of all are in manifest.jsonl",
        )
    return rows


def _digest(given: str) -> str:
    """Return what tells whether an input has changed: of files their content,
    of a data set that of its arrays, of a name nothing.
    """
    place, made = Path(given), hashlib.sha256()
    files = (
        sorted(path for path in place.iterdir() if path.is_file())
        if place.is_dir()
        else [place]
        if place.is_file()
        else []
    )
    for path in files:
        if path.suffix not in (".mkv", ".mp4", ".tar"):  # large, and told by the arrays beside them
            made.update(path.name.encode() + path.read_bytes())
    return made.hexdigest() if files else ""


def _with_whole_paths(config: GenerateConfig) -> GenerateConfig:
    """Return the same with paths that other processes find."""
    given = {name: getattr(config, name) for name in ("world", "player", "images", "over")}
    whole: dict[str, Any] = {
        name: str(Path(path).resolve())
        for name, path in given.items()
        if path and Path(path).exists()
    }
    return dataclasses.replace(config, **whole)


class ShardMaker:
    """Makes shards and writes them; one lives here, or one in each of Ray's actors.

    Args:
        config: what to generate.
        folder: where to; every machine must see it.
        meta: what its ``meta.json`` says.
        worker: who makes them; None: a new one.
    """

    def __init__(
        self,
        config: GenerateConfig,
        folder: Path,
        meta: dict[str, Any],
        worker: Worker | None = None,
    ) -> None:
        self.folder, self.meta = folder, meta
        self.keep, self.store = Keep(meta["generated"]["keep_if"]), frame_format(meta["storage"])
        self.worker = worker or Worker(config, meta["phrases"])

    def run(self, index: int) -> int:
        """Make a shard and return how many episodes it has.

        Raises:
            DatasetError: if the disk is almost full.
        """
        free = shutil.disk_usage(self.folder).free
        if free < ROOM:
            raise DatasetError(
                "the disk is almost full",
                given=f"{free >> 20} MiB free at {self.folder}",
                allowed=f"{ROOM >> 20} MiB or more",
                remedy="make room and call again; whole shards are kept",
            )
        made = self.worker.make(index)
        self._save(index, made)
        return len(made.rows)

    def _save(self, index: int, made: Made) -> None:
        """Write a shard: frames and arrays of the kept episodes,
        then what is to be said about all of them.
        """
        remove_shard(self.folder, index, self.store)  # it may hold fewer episodes, or damage
        kept = [
            i
            for i, row in enumerate(made.rows)
            if self.keep(row["flags"]) and not row["world_fault"]
        ]
        for i, row in enumerate(made.rows):
            row["kept"] = i in kept
            row["row"] = kept.index(i) if i in kept else -1
            row["env"] = id_of(self.meta["world"], row["task"])
        if kept:
            names = ("actions", "prompts", "rewards", "states", "scores")
            arrays = {name: getattr(made.shard, name)[kept] for name in names}
            rows = [
                {**made.rows[i], **_of_episode(self.meta, arrays, place)}
                for place, i in enumerate(kept)
            ]
            self.store.write(self.folder, index, made.shard.frames[kept], self.meta["fps"], rows)
            with atomic_write(self.folder / f"shard-{index:05d}.npz") as part:
                np.savez_compressed(part, **arrays)
        ShardRecord.write(self.folder, index, made.rows, self.store)


def _of_episode(meta: dict[str, Any], arrays: dict[str, np.ndarray], row: int) -> dict[str, Any]:
    """Return an episode's arrays by name, for formats whose readers know only what stands beside a
    film.
    """
    return {
        "actions": arrays["actions"][row].tolist(),
        "rewards": {
            task: arrays["rewards"][row, :, i].tolist() for i, task in enumerate(meta["tasks"])
        },
        "states": {
            name: arrays["states"][row, :, i].tolist() for i, name in enumerate(meta["state_names"])
        },
        "scores": {
            name: arrays["scores"][row, :, i].tolist() for i, name in enumerate(meta["score_names"])
        },
    }
