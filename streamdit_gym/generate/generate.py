"""A data set made by a world: planned, made shard by shard, resumed, finished.

Takes: what to generate, a folder.  Gives: a data set that `train` reads and other tools do, with a manifest.
Knows nothing of: how an episode is made.

On disk: ``meta.json`` and ``shard-00000.npz`` as `record` writes them, the format's own files (`streamdit_gym.data.storage`), beside each
shard ``shard-00000.json`` (written last: a shard without it is made anew), and at the end ``manifest.jsonl``, a line for every episode.
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

from streamdit_gym.data.dataset import FORMAT
from streamdit_gym.data.recorder import all_phrases
from streamdit_gym.data.storage import storage
from streamdit_gym.data.storage.storage import Storage, replaced
from streamdit_gym.envs.registration import id_of
from streamdit_gym.errors import DatasetError, UnknownNameError, require
from streamdit_gym.generate.flags import Keep
from streamdit_gym.generate.pool import run_on_ray
from streamdit_gym.generate.speakers import read_prompts
from streamdit_gym.generate.worker import GenerateConfig, Made, Worker
from streamdit_gym.world import World, find_world

ROOM = 50 * 2**20  # bytes that must be free before a shard is begun


def generate(
    config: GenerateConfig, folder: Path, *, kind: str = "mkv", keep_if: str = "", ray: str | None = None, cores: int = 2
) -> dict[str, Any]:
    """Make what is missing of a data set, and finish it; safe to stop at any moment and to call again.

    Args:
        config: what to generate.
        folder: where to.
        kind: format, see `streamdit_gym.data.storage`.
        keep_if: which episodes to keep, see `Keep`; the others stand in the manifest alone.
        ray: make shards with Ray: the address of a cluster, or empty to start it on this machine; None: without Ray.
        cores: cores of each of Ray's actors, where there are no GPUs.

    Returns:
        How many episodes were made and kept, and how many frames.

    Raises:
        StreamDiTError: for anything that does not exist, cannot be read or written, or does not fit what is in the folder.
    """
    Keep(keep_if)
    store = storage(kind)
    for module in store.needs:
        require(module, "generate", f"the format {kind}")
    world = World.from_pretrained(config.world)
    if config.task not in world.spec.tasks:
        raise UnknownNameError("task", config.task, world.spec.tasks)
    phrases = all_phrases(world.spec)
    if config.player.endswith(".jsonl"):
        phrases += sorted({phrase for said in read_prompts(Path(config.player)) for phrase in said} - set(phrases))
    meta = {
        "format": FORMAT, "world": world.spec.name, "size": world.spec.size, "fps": world.spec.fps, "seed": config.seed,
        "episodes": config.batch, "steps": config.steps, "state_names": list(world.spec.state_names),
        "score_names": list(world.spec.score_names), "tasks": sorted(world.spec.tasks), "phrases": phrases,
        "menu": [list(said) for said in world.spec.menu], "storage": kind,
        "generated": {
            **{k: v for k, v in dataclasses.asdict(config).items() if k not in ("episodes", "device", "trust_agents")}, "keep_if": keep_if,
            "bundle": json.loads((find_world(config.world) / "config.json").read_text())["files"],
            "inputs": {name: _digest(given) for name in ("player", "images", "over") if (given := getattr(config, name))},
        },
        "promises": world.facts.get("scores", {}).get("promises", []),
    }  # fmt: skip
    # whatever cannot be made is told before anything is written; with Ray the actors have workers of their own
    worker = Worker(config if ray is None else dataclasses.replace(config, device="cpu"), phrases)
    try:
        _begin(folder, meta)
        shards = -(-config.episodes // config.batch)
        _check_not_fewer(folder, config)
        missing = [index for index in range(shards) if not _is_whole(folder, index, config)]
        done = config.episodes - sum(config.rows(index) for index in missing)
        with tqdm(total=config.episodes, initial=done, unit="episode", desc=f"generate {world.spec.name}") as bar:
            if ray is None:
                make = ShardMaker(config, folder, meta, worker)
                for index in missing:
                    bar.update(make.run(index))
            elif missing:
                maker = (_with_whole_paths(config), folder.resolve(), meta)
                run_on_ray(ShardMaker, maker, missing, address=ray or None, gpus=config.device == "cuda", cores=cores, done=bar.update)
        rows = [row for index in range(shards) for row in json.loads((folder / f"shard-{index:05d}.json").read_text())]
        kept = [row for row in rows if row["kept"]]
        if not kept:
            raise DatasetError("no episode was kept", given=keep_if, remedy="ask for less; the flags of all are in manifest.jsonl")
        store.finish(folder, meta, kept)
        part = replaced(folder / "manifest.jsonl")
        part.write_text("".join(json.dumps(row) + "\n" for row in rows))
        part.replace(folder / "manifest.jsonl")
    except OSError as error:
        raise DatasetError(
            "the data set cannot be written", given=f"{folder}: {error}", remedy="call again when it can; whole shards are kept"
        ) from error
    return {"episodes": len(rows), "kept": len(kept), "frames": len(kept) * (config.steps + 1)}


def _begin(folder: Path, meta: dict[str, Any]) -> None:
    """Write ``meta.json``, or check that the one there says the same."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "meta.json"
    if path.is_file():
        try:
            old = json.loads(path.read_text())
        except ValueError as error:
            raise DatasetError("meta.json cannot be read", given=path, remedy="use an empty folder") from error
        made, asked = ({**content, **content.get("generated", {})} for content in (old, meta))
        # what the judge says of a world may change without the world
        changed = sorted(key for key in asked if key not in ("generated", "promises") and made.get(key) != asked[key])
        if changed:
            raise DatasetError(
                "another data set is here", given=f"{folder}, differing in {', '.join(changed)}",
                remedy="use an empty folder, or ask for the same",
            )  # fmt: skip
        return
    if any(not there.name.startswith("part-") for there in folder.iterdir()):
        raise DatasetError("the folder is not empty and holds no data set", given=folder, remedy="use an empty folder")
    part = replaced(path)
    part.write_text(json.dumps(meta, indent=1))
    part.replace(path)


def _there(folder: Path, index: int) -> int:
    """Return how many episodes of a shard are there."""
    try:
        return len(json.loads((folder / f"shard-{index:05d}.json").read_text()))
    except (FileNotFoundError, ValueError):  # a file that is cut is made anew
        return 0


def _is_whole(folder: Path, index: int, config: GenerateConfig) -> bool:
    return _there(folder, index) == config.rows(index)


def _check_not_fewer(folder: Path, config: GenerateConfig) -> None:
    """Refuse to leave episodes out that are there.

    Raises:
        DatasetError: if fewer are asked for.
    """
    last = max((int(path.stem.split("-")[1]) for path in folder.glob("shard-?????.json")), default=0)
    there = last * config.batch + _there(folder, last)
    if there > config.episodes:
        raise DatasetError(
            "more episodes are here", given=config.episodes, allowed=f"{there} or more", remedy="ask for them, or use an empty folder"
        )


def _digest(given: str) -> str:
    """Return what tells whether an input has changed: of files their content, of a data set that of its arrays, of a name nothing."""
    place, made = Path(given), hashlib.sha256()
    files = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else [place] if place.is_file() else []
    for path in files:
        if path.suffix not in (".mkv", ".mp4", ".tar"):  # large, and told by the arrays beside them
            made.update(path.name.encode() + path.read_bytes())
    return made.hexdigest() if files else ""


def _with_whole_paths(config: GenerateConfig) -> GenerateConfig:
    """Return the same with paths that other processes find."""
    given = {name: getattr(config, name) for name in ("world", "player", "images", "over")}
    whole: dict[str, Any] = {name: str(Path(path).resolve()) for name, path in given.items() if path and Path(path).exists()}
    return dataclasses.replace(config, **whole)


class ShardMaker:
    """Makes shards and writes them; one lives here, or one in each of Ray's actors.

    Args:
        config: what to generate.
        folder: where to; every machine must see it.
        meta: what its ``meta.json`` says.
        worker: who makes them; None: a new one.
    """

    def __init__(self, config: GenerateConfig, folder: Path, meta: dict[str, Any], worker: Worker | None = None) -> None:
        self.folder, self.meta = folder, meta
        self.keep, self.store = Keep(meta["generated"]["keep_if"]), storage(meta["storage"])
        self.worker = worker or Worker(config, meta["phrases"])

    def run(self, index: int) -> int:
        """Make a shard and return how many episodes it has.

        Raises:
            DatasetError: if the disk is almost full.
        """
        free = shutil.disk_usage(self.folder).free
        if free < ROOM:
            raise DatasetError(
                "the disk is almost full", given=f"{free >> 20} MiB free at {self.folder}",
                allowed=f"{ROOM >> 20} MiB or more", remedy="make room and call again; whole shards are kept",
            )  # fmt: skip
        made = self.worker.make(index)
        _save(self.folder, index, made, self.keep, self.store, self.meta)
        return len(made.rows)


def _save(folder: Path, index: int, made: Made, keep: Keep, store: Storage, meta: dict[str, Any]) -> None:
    """Write a shard: frames and arrays of the kept episodes, then what is to be said about all of them."""
    done = folder / f"shard-{index:05d}.json"
    done.unlink(missing_ok=True)  # of fewer episodes; what stands beside it is about to change
    kept = [i for i, row in enumerate(made.rows) if keep(row["flags"])]
    for i, row in enumerate(made.rows):
        row |= {"kept": i in kept, "row": kept.index(i) if i in kept else -1, "env": id_of(meta["world"], row["task"])}
    if kept:
        arrays = {name: getattr(made.shard, name)[kept] for name in ("actions", "prompts", "rewards", "states", "scores")}
        said = [{**made.rows[i], **_of_episode(meta, arrays, place)} for place, i in enumerate(kept)]
        store.write(folder, index, made.shard.frames[kept], meta["fps"], said)
        path = folder / f"shard-{index:05d}.npz"
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **arrays)
        part.replace(path)
    part = replaced(done)
    part.write_text(json.dumps(made.rows))
    part.replace(done)


def _of_episode(meta: dict[str, Any], arrays: dict[str, np.ndarray], row: int) -> dict[str, Any]:
    """Return an episode's arrays by name, for formats whose readers know only what stands beside a film."""
    return {
        "actions": arrays["actions"][row].tolist(),
        "rewards": {task: arrays["rewards"][row, :, i].tolist() for i, task in enumerate(meta["tasks"])},
        "states": {name: arrays["states"][row, :, i].tolist() for i, name in enumerate(meta["state_names"])},
        "scores": {name: arrays["scores"][row, :, i].tolist() for i, name in enumerate(meta["score_names"])},
    }
