"""Recordings that a command takes: they are imported, or were, and have a definition."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from streamdit_gym.errors import ArgumentError, DatasetError

if TYPE_CHECKING:
    from streamdit_gym.data.imports.recordings import ImportSettings
    from streamdit_gym.definition import WorldDefinition


def import_world(folder: Path, name: str, settings: ImportSettings) -> Path:
    """Import recordings, say what became of them, and return the data set's folder.

    Raises:
        ArgumentError: if a world of this name is registered.
        DatasetError: if the recordings cannot be read, or something else has their place.
        DefinitionError: if they cannot become a world, such as by its name.
    """
    from streamdit_gym.data.imports.importer import import_recordings
    from streamdit_gym.registry import find_definition
    from streamdit_gym.world_folders import recorded_folder

    if find_definition(name) is not None:
        raise ArgumentError(
            "a world of this name is registered",
            given=name,
            allowed="a new name",
            remedy="give recordings a name of their own",
        )
    target = recorded_folder(name)
    _check_single_process(target, folder, name)
    report = import_recordings(folder, name, target, settings)
    print(f"{target}: {report.lines()[0]}")
    for line in report.lines()[1:]:
        print(line)
    return target


def is_data_set(folder: Path | None) -> bool:
    """Return whether a folder is a data set already, and not recordings."""
    return folder is not None and (folder / "meta.json").is_file()


def imported_world(data: Path | None, name: str) -> WorldDefinition:
    """Return the world that recordings make.

    Args:
        data: recordings, which are imported unless they were, or a data set that an import wrote.
        name: of the world.

    Raises:
        ArgumentError: if there is no folder, or the name is that of another world.
        DatasetError: if the recordings cannot be read.
        DefinitionError: if they cannot become a world.
    """
    from streamdit_gym.data.imports.recordings import ImportSettings

    if data is None:
        raise ArgumentError(
            "a name without recordings",
            given=f"--name {name}",
            allowed="--data FOLDER --name NAME",
            remedy=f"give the folder, or train what was imported: streamdit-gym train {name}",
        )
    folder = data if is_data_set(data) else import_world(data, name, ImportSettings())
    definition = definition_of_recordings(folder)
    if definition is None or definition.name != name:
        raise ArgumentError(
            "a data set of another world",
            given=f"--name {name} for {folder}",
            allowed="the name that the recordings were imported with",
            remedy="leave --name out, and give the world's name or file",
        )
    return definition


def definition_of_recordings(folder: Path) -> WorldDefinition | None:
    """Return the definition of an imported data set; None if there is no such data set.

    Raises:
        DatasetError: if the data set cannot be read.
    """
    from streamdit_gym.data.dataset import Dataset
    from streamdit_gym.data.imports.recorded_world import recorded_definition

    if not is_data_set(folder):
        return None
    return recorded_definition(Dataset(folder))


def _check_single_process(target: Path, folder: Path, name: str) -> None:
    """Refuse to import in one of several processes, which would be in each other's way."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not is_data_set(target):
        raise DatasetError(
            "recordings are imported by one process",
            given="torchrun",
            allowed="recordings that are imported already",
            remedy=f"streamdit-gym import {folder} {name}, and call again",
        )
