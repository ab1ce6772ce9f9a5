"""The definition of a world that is learned from recordings alone; their data set holds it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from streamdit_gym.actions import loaded_actions
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.definition_checks import check_definition
from streamdit_gym.data.imports.recordings import SUCCESS_SCORE, Description
from streamdit_gym.definition import EnvironmentTask, WorldDefinition, WorldSpec
from streamdit_gym.errors import DatasetError, DefinitionError

IMPORT = "import"  # key of meta.json
TASK = "data"  # name of the task whose reward the recordings have
HORIZON = "horizon"


def imported_spec(name: str, description: Description, frame_size: tuple[int, int]) -> WorldSpec:
    """Return the spec of a world that recordings become, checked.

    Args:
        name: of the world.
        description: of the recordings.
        frame_size: height and width in pixels.

    Raises:
        DefinitionError: if something in it cannot be, such as the name.
    """
    spec = WorldSpec(
        name=name,
        frame_size=frame_size,
        fps=description.fps,
        actions=description.actions,
        state_names=description.state_names,
        score_names=(SUCCESS_SCORE,) if description.has_success else (),
        tasks={TASK: recorded_task(1)} if description.has_rewards else {},
    )
    check_definition(spec)
    return spec


def recorded_task(horizon: int) -> EnvironmentTask:
    """Return the task with the recordings' own reward.

    Args:
        horizon: steps of their longest episode.
    """
    return EnvironmentTask(horizon=horizon, about="the reward that the recordings have")


def stored_tasks(spec: WorldSpec) -> dict[str, dict[str, Any]]:
    """Return the tasks as ``meta.json`` holds them."""
    tasks = {}
    for name, task in spec.tasks.items():
        assert isinstance(task, EnvironmentTask)
        tasks[name] = asdict(task)
    return tasks


def recorded_definition(dataset: Dataset) -> WorldDefinition | None:
    """Return the definition of the world that a data set of recordings is of.

    It has no simulator, and nothing else that the recordings do not hold.

    Args:
        dataset: the data set.

    Returns:
        The definition; None for a data set that a simulator or a world has made.

    Raises:
        DatasetError: if ``meta.json`` lacks something.
    """
    meta = dataset.meta
    if IMPORT not in meta:
        return None
    try:
        definition = WorldDefinition(
            name=meta["world"],
            frame_size=dataset.frame_size,
            fps=meta["fps"],
            actions=loaded_actions(meta),
            state_names=tuple(meta["state_names"]),
            score_names=tuple(meta["score_names"]),
            tasks={name: EnvironmentTask(**task) for name, task in meta[IMPORT]["tasks"].items()},
        )
        check_definition(definition, definition.starts)
    except (KeyError, TypeError, ValueError, AttributeError, DefinitionError) as error:
        raise DatasetError(
            "meta.json of imported recordings cannot be understood",
            given=f"{dataset.folder}: {error}",
            allowed="what the import wrote",
            remedy="delete the data set and import the recordings again",
        ) from error
    return definition
