"""The world that a command is about: a name, a definition file, a bundle's folder or a Hub id.

Every command takes all four. A definition file is run, which registers its world.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamdit_gym.cli.recordings_argument import definition_of_recordings
from streamdit_gym.errors import DatasetError, UnknownNameError

if TYPE_CHECKING:
    from streamdit_gym.data.dataset import Dataset
    from streamdit_gym.definition import WorldDefinition, WorldSpec


def definition_of(world: str) -> WorldDefinition:
    """Return the definition of a command's world.

    A bundle whose world is not registered has one without a simulator, and so have recordings that
    were imported.

    Raises:
        UnknownNameError: if there is no such world.
        ArgumentError: if a definition file is missing, or registers no world, or several.
        DefinitionError: if a definition file cannot be run, or its definition is wrong.
        BundleError: if a bundle cannot be read.
        DatasetError: if imported recordings cannot be read.
    """
    from streamdit_gym.registry import FILE_SUFFIX, find_definition, world_definition

    if world.endswith(FILE_SUFFIX) or find_definition(world) is not None:
        return world_definition(world)
    from streamdit_gym.bundle.config import read_config
    from streamdit_gym.bundle.hub import parse_hub_id
    from streamdit_gym.world_folders import find_world, recorded_folder

    try:
        folder = find_world(world)
    except UnknownNameError:
        recorded = definition_of_recordings(recorded_folder(world))
        if recorded is None and parse_hub_id(world) is not None:
            raise
        return recorded or world_definition(world)  # whose error names the registered ones
    return definition_of_spec(read_config(folder).spec)


def definition_of_spec(spec: WorldSpec) -> WorldDefinition:
    """Return the registered definition of a bundle's world, or one without a simulator."""
    from streamdit_gym.definition import WorldDefinition
    from streamdit_gym.registry import find_definition

    return find_definition(spec.name) or WorldDefinition.of(spec)


def bundle_of(world: str) -> str:
    """Return the name or folder under which a command's world can be loaded.

    Raises:
        UnknownNameError: if the world of a definition file is not trained yet.
        ArgumentError: if a definition file is missing, or registers no world, or several.
        DefinitionError: if a definition file cannot be run, or its definition is wrong.
    """
    from streamdit_gym.registry import FILE_SUFFIX, load_definition

    if not world.endswith(FILE_SUFFIX):
        return world
    from streamdit_gym.world_folders import find_world

    definition = load_definition(Path(world))
    find_world(definition.name)  # or the error that says how to train it
    return definition.name


def data_of(name: str, data: Path | None) -> Dataset:
    """Return the data set of a world.

    Args:
        name: the world's.
        data: its folder; None: where `record` puts it.

    Raises:
        DatasetError: if there is none, or it cannot be read.
    """
    from streamdit_gym.data.dataset import Dataset
    from streamdit_gym.world_folders import recorded_folder

    folder = data or recorded_folder(name)
    if not (folder / "meta.json").is_file():
        raise DatasetError(
            "no data set here",
            given=folder,
            remedy=f"record one, `streamdit-gym record {name}`, or give --data FOLDER",
        )
    return Dataset(folder)
