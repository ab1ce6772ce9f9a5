"""Small bundles on disk, and changes to them as an attacker makes them: with hashes that fit."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from conftest import make_tiny_world

from streamdit_gym.actions import Menu
from streamdit_gym.bundle.config import content_digest
from streamdit_gym.bundle.phrase_storage import with_all_phrases
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.world import World

Place = tuple[str | int, ...]  # keys and indices from the top of config.json to a value


def make_short_world() -> World:
    """Return a tiny world with two phrases an action, so that its ``config.json`` is short."""
    world = make_tiny_world()
    menu = tuple(phrases[:2] for phrases in world.spec.menu)
    return replace(world, spec=replace(world.spec, actions=Menu(*menu)))


def read_content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


def write_content(folder: Path, content: dict[str, Any]) -> None:
    """Write a ``config.json`` with the digest that fits."""
    listed = content
    with contextlib.suppress(StreamDiTError):  # what cannot be read is signed as it is
        listed, _ = with_all_phrases(content)
    signed = {**content, "digest": content_digest(listed)}
    (folder / "config.json").write_text(json.dumps(signed))


def sign_files(folder: Path) -> None:
    """Write the hashes of the weights files as they are now into ``config.json``."""
    content = read_content(folder)
    for name, entry in content["files"].items():
        data = (folder / name).read_bytes()
        entry["bytes"] = len(data)
        entry["sha256"] = hashlib.sha256(data).hexdigest()
    write_content(folder, content)


def fields_of(value: Any, path: Place = ()) -> list[Place]:
    """Return the path of every value of a ``config.json``, the objects and lists in it included."""
    paths = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            paths += fields_of(item, (*path, key))
    if isinstance(value, list) and value:
        paths += fields_of(value[0], (*path, 0))
    return paths


def value_at(content: Any, path: Place) -> Any:
    for key in path:
        content = content[key]
    return content


def edited(content: dict[str, Any], path: Place, value: Any) -> dict[str, Any]:
    """Return a copy with another value at a path."""
    copy = json.loads(json.dumps(content))
    value_at(copy, path[:-1])[path[-1]] = value
    return copy


def without(content: dict[str, Any], path: Place) -> dict[str, Any]:
    """Return a copy that lacks a value."""
    copy = json.loads(json.dumps(content))
    del value_at(copy, path[:-1])[path[-1]]
    return copy
