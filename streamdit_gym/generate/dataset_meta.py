"""``meta.json`` of a generated data set: what it says, and whether one on disk says the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from streamdit_gym.actions import action_names, stored_actions
from streamdit_gym.data.dataset import FORMAT
from streamdit_gym.data.episode import all_phrases
from streamdit_gym.definition import stored_size
from streamdit_gym.envs.registration import spec_json
from streamdit_gym.envs.worlds import action_vectors_of
from streamdit_gym.errors import DatasetError
from streamdit_gym.files import PART, write_json
from streamdit_gym.generate.generate_config import FRAME, GenerateConfig
from streamdit_gym.generate.prompt_file import is_prompt_file, read_prompts
from streamdit_gym.stream.clip import MICRO_STEPS
from streamdit_gym.world import World, find_world
from streamdit_gym.world_folders import BUNDLE, run_folder, shipped_worlds

# 1: exports lay between our own files, and nothing vouched for a shard's files
LAYOUT = 2
# settings that change nothing in an episode
NOT_OF_THE_DATA = ("episodes", "device", "trust_agents")
# entries about the world and not about the data
MAY_CHANGE = ("generated", "promises", "license", "env_spec")
FORMER_NAMES = {"player": "policy"}
# settings that earlier versions did not have, as they generated
FORMER_SETTINGS = {"clip": None, "clip_micro_steps": MICRO_STEPS, "start": FRAME}
PATH_SETTINGS = ("world", "policy", "images", "over")
VIDEO_SUFFIXES = (".mkv", ".mp4", ".tar")  # large, and described by the arrays beside them


def dataset_meta(
    config: GenerateConfig, world: World, *, format_name: str, keep_if: str
) -> dict[str, Any]:
    """Return the content of ``meta.json``."""
    spec = world.spec
    if spec.menu:
        names, action_vectors = action_vectors_of(spec.name, spec.menu)
    else:  # the actions of a box are vectors
        names, action_vectors = list(action_names(spec.actions)), []
    env_spec = spec_json(
        with_absolute_paths(config).world, spec.name, config.task, config.partition
    )
    scores = world.facts.get("scores", {})
    return {
        "format": FORMAT,
        "world": spec.name,
        "size": stored_size(spec.frame_size),
        "fps": spec.fps,
        "seed": config.seed,
        "episodes": config.batch,
        "steps": config.steps,
        "state_names": list(spec.state_names),
        "score_names": list(spec.score_names),
        "tasks": sorted(spec.tasks),
        "phrases": _phrases(config, world),
        **stored_actions(spec.actions),
        "action_names": names,
        "action_vectors": action_vectors,
        "storage": format_name,
        "generated": _generation(config, keep_if),
        "promises": scores.get("criteria", []),
        "license": str(world.facts.get("license", "")),
        "env_spec": env_spec,
    }


def _phrases(config: GenerateConfig, world: World) -> list[str]:
    """Return all phrases of the prompts: the world's, then those of a file."""
    phrases = all_phrases(world.spec)
    if not is_prompt_file(config.policy):
        return phrases
    in_file: set[str] = set()
    for prompts in read_prompts(Path(config.policy)):
        in_file.update(prompts)
    return phrases + sorted(in_file - set(phrases))


def _generation(config: GenerateConfig, keep_if: str) -> dict[str, Any]:
    """Return how the data are generated: settings, and digests of all that goes in."""
    settings = dataclasses.asdict(config)
    for name in NOT_OF_THE_DATA:
        del settings[name]
    inputs = {}
    for name in ("policy", "images", "over"):
        if settings[name]:
            inputs[name] = _digest(Path(settings[name]))
    bundle = json.loads((find_world(config.world) / "config.json").read_text())["files"]
    return {**settings, "layout": LAYOUT, "keep_if": keep_if, "bundle": bundle, "inputs": inputs}


def _digest(place: Path) -> str:
    """Return a digest that changes with an input: a file's content, or a folder's files.

    It is empty for a name that is no path.
    """
    files: list[Path] = []
    if place.is_dir():
        files = sorted(path for path in place.iterdir() if path.is_file())
    elif place.is_file():
        files = [place]
    if not files:
        return ""
    digest = hashlib.sha256()
    for path in files:
        if path.suffix not in VIDEO_SUFFIXES:
            name = path.name.encode()
            digest.update(name + path.read_bytes())
    return digest.hexdigest()


def with_absolute_paths(config: GenerateConfig) -> GenerateConfig:
    """Return the same settings with paths that other processes find.

    A name under which `train` has written a world becomes the bundle's folder.
    """
    absolute: dict[str, Any] = {}
    trained = run_folder(config.world) / BUNDLE
    if config.world not in shipped_worlds() and trained.is_dir():
        absolute["world"] = str(find_world(config.world).resolve())
    for name in PATH_SETTINGS:
        path = getattr(config, name)
        if path and Path(path).exists():
            absolute[name] = str(Path(path).resolve())
    return dataclasses.replace(config, **absolute)


def begin_dataset(folder: Path, meta: dict[str, Any]) -> None:
    """Write ``meta.json``, or check that the one on disk says the same.

    Raises:
        DatasetError: if the folder holds something else, or a data set of other settings.
    """
    path = folder / "meta.json"
    if not path.is_file():
        if any(not entry.name.startswith(PART) for entry in folder.iterdir()):
            raise DatasetError(
                "the folder is not empty and holds no data set",
                given=folder,
                remedy="use an empty folder",
            )
        write_json(path, meta)
        return
    content = _read(path)
    old = _flat(content)
    if "generated" in content and "layout" not in old:
        raise DatasetError(
            "an older version made this data set",
            given=folder,
            remedy="use an empty folder to make more; `train` and `inspect` read this one as it is",
        )
    new = _flat(meta)
    changed = sorted(key for key in new if key not in MAY_CHANGE and old.get(key) != new[key])
    if changed:
        raise DatasetError(
            "another data set is here",
            given=f"{folder}, differing in {', '.join(changed)}",
            remedy="use an empty folder, or ask for the same",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        remedy = "use an empty folder"
        raise DatasetError("meta.json cannot be read", given=path, remedy=remedy) from error
    return content


def _flat(meta: dict[str, Any]) -> dict[str, Any]:
    """Return all entries at one level, by today's names."""
    entries = {**meta, **meta.get("generated", {})}
    flat = {**FORMER_SETTINGS, **_renamed(entries)}
    if isinstance(flat.get("inputs"), dict):
        flat["inputs"] = _renamed(flat["inputs"])
    return flat


def _renamed(entries: dict[str, Any]) -> dict[str, Any]:
    return {FORMER_NAMES.get(name, name): value for name, value in entries.items()}
