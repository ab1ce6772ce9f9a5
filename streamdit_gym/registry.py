"""Worlds by name: everybody's, the shipped ones among them.

A world is registered by `register_world`. Packages announce theirs by the entry-point group
``streamdit_gym.worlds``: the entry's name is the world's, its value is ``module:attribute`` of a
`WorldDefinition`, or of a function without arguments that returns one.
"""

from __future__ import annotations

import copyreg
import logging
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from streamdit_gym.checks import check_sha256
from streamdit_gym.data.definition_checks import as_definition_error, check_definition
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.errors import ArgumentError, DefinitionError, UnknownNameError

log = logging.getLogger("streamdit_gym")

ENTRY_POINT_GROUP = "streamdit_gym.worlds"
FILE_SUFFIX = ".py"

_WORLDS: dict[str, WorldDefinition] = {}
_LISTENERS: list[Callable[[WorldDefinition], None]] = []
# The definition file that has registered a world, by the world's name.
_FILES: dict[str, Path] = {}


def register_world(definition: WorldDefinition) -> WorldDefinition:
    """Make a world known by its name, and return its definition.

    Commands then take its name, and Gymnasium knows its ids. A definition of the same name is
    replaced.

    Raises:
        DefinitionError: if the definition is wrong; the text names the field.
    """
    if not isinstance(definition, WorldDefinition):
        raise DefinitionError(
            "this is no definition of a world",
            given=f"{type(definition).__name__}",
            allowed="a WorldDefinition, as gym_world(...) returns it",
            remedy="register_world(WorldDefinition(name=..., frame_size=..., ...))",
        )
    check_definition(definition, definition.starts)
    _check_weights(definition)
    _WORLDS[definition.name] = definition
    _FILES.pop(definition.name, None)
    for listener in _LISTENERS:
        listener(definition)
    return definition


def _check_weights(definition: WorldDefinition) -> None:
    """Refuse a digest that is none, or that says nothing of any weights."""
    if definition.weights_digest is None:
        return
    with as_definition_error():
        check_sha256("weights_digest", definition.weights_digest)
    if definition.weights is None:
        raise DefinitionError(
            "a digest without weights",
            given=f"weights_digest={definition.weights_digest[:12]}..., weights=None",
            allowed="a folder or a Hub id as weights",
            remedy="say where the weights are, or leave the digest out",
        )


def on_registration(listener: Callable[[WorldDefinition], None]) -> None:
    """Call a function with every world that is registered, those of before among them."""
    _LISTENERS.append(listener)
    for definition in _WORLDS.values():
        listener(definition)


def registered_worlds() -> list[str]:
    """Return the names of all registered worlds."""
    return sorted(_WORLDS)


def find_definition(name: str) -> WorldDefinition | None:
    """Return the definition of a world; None if no world of that name is registered."""
    return _WORLDS.get(name)


def world_definition(name: str) -> WorldDefinition:
    """Return the definition of a world, by its name or by the Python file that registers it.

    Raises:
        UnknownNameError: if no world of that name is registered; the text names the nearest.
        ArgumentError: if the file registers no world, or several.
        DefinitionError: if the file cannot be run, or its definition is wrong.
    """
    if name.endswith(FILE_SUFFIX):
        return load_definition(Path(name))
    definition = find_definition(name)
    if definition is None:
        raise UnknownNameError(
            "world",
            name,
            registered_worlds(),
            remedy="register it, or give the Python file that does: see `streamdit-gym new-world`",
        )
    return definition


def load_definition(path: Path) -> WorldDefinition:
    """Run a Python file and return the world that it registers.

    Raises:
        ArgumentError: if there is no such file, or it registers no world, or several.
        DefinitionError: if it cannot be run, or its definition is wrong.
    """
    if not path.is_file():
        raise ArgumentError(
            "there is no such definition file",
            given=path,
            allowed="a Python file that calls register_world",
            remedy=f"write one: streamdit-gym new-world {path.name} --env Reacher-v5",
        )
    with _recorded_registrations() as definitions:
        try:
            runpy.run_path(str(path), run_name=f"<world {path.stem}>")
        except (DefinitionError, KeyboardInterrupt):
            raise
        except Exception as error:  # anybody may have written the file
            raise DefinitionError(
                "the definition file cannot be run",
                given=f"{path}{_line_of(error, path)}: {type(error).__name__}: {error}",
                allowed="a Python file that calls register_world",
                remedy="mend the file",
            ) from error
    names = list(dict.fromkeys(definition.name for definition in definitions))
    if len(names) != 1:
        raise ArgumentError(
            "a definition file registers one world",
            given=f"{path}: {', '.join(names) or 'none'}",
            allowed="one call of register_world",
            remedy="give the name of a world that is registered, or split the file",
        )
    definition = definitions[-1]
    _FILES[definition.name] = path.resolve()
    return definition


def load_entry_points() -> None:
    """Register the worlds that installed packages announce; a broken one is told and left out."""
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if _is_being_imported(entry):  # it registers its worlds itself, or is looked up later
            continue
        try:
            register_world(_definition_of(entry))
        except Exception as error:  # anybody may have written the package
            log.warning("the world %s of %s cannot be used: %s", entry.name, entry.value, error)


def _reduce(definition: WorldDefinition) -> Any:
    """Tell pickle how to make a definition in another process.

    Functions and classes of a definition file cannot be pickled, so the file is run there, too.
    """
    path = _FILES.get(definition.name)
    if path is None:
        return object.__reduce_ex__(definition, 2)
    registered = _WORLDS[definition.name]
    changes = {}
    for item in fields(WorldDefinition):
        value = getattr(definition, item.name)
        if value is not getattr(registered, item.name):
            changes[item.name] = value
    return _from_file, (definition.name, path, changes)


def _from_file(name: str, path: Path, changes: dict[str, Any]) -> WorldDefinition:
    """Return a definition of a file, which is run unless this process has done so."""
    registered = _WORLDS[name] if _FILES.get(name) == path else load_definition(path)
    return replace(registered, **changes)


copyreg.pickle(WorldDefinition, _reduce)


def _definition_of(entry: EntryPoint) -> Any:
    value = entry.load()
    if callable(value) and not isinstance(value, WorldDefinition):
        value = value()
    if isinstance(value, WorldDefinition) and value.name != entry.name:
        raise DefinitionError(
            "an entry point has the name of its world",
            given=f"{entry.name} for the world {value.name}",
            allowed=f"{value.name} = {entry.value}",
            remedy="rename one of the two",
        )
    return value


def _is_being_imported(entry: EntryPoint) -> bool:
    module = sys.modules.get(entry.module)
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


@contextmanager
def _recorded_registrations() -> Iterator[list[WorldDefinition]]:
    """Yield a list of the worlds that are registered meanwhile."""
    definitions: list[WorldDefinition] = []
    _LISTENERS.append(definitions.append)
    try:
        yield definitions
    finally:
        _LISTENERS.remove(definitions.append)


def _line_of(error: BaseException, path: Path) -> str:
    """Return where in a file an error comes from, such as ``", line 3"``."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f", line {error.lineno}"
    line = ""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            line = f", line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line
